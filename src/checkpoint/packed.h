// Compressed tensors in a checkpoint folder: their description in config.json's
// `quantization_config`, their parts in model.safetensors. docs/formats.md gives the bytes.
#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/fields.h"
#include "checkpoint/safetensors.h"
#include "kernels/packed/coder.h"

namespace mote::checkpoint {

// What is written; 1 and 2 are read as well.
constexpr std::int64_t kFormatVersion = 3;

struct PackedTensor {
  std::string name;
  std::string coder;  // a name of kernels/packed/coder.h
  std::int64_t experts = 0, out = 0, in = 0;

  static auto fields() {
    using C = PackedTensor;
    return std::tuple{Field{&C::name, "name", "the tensor that was packed"},
                      Field{&C::coder, "coder", "how its weights are stored"},
                      Field{&C::experts, "experts", "matrices stacked", 1.0, 1e9},
                      Field{&C::out, "out", "rows of each", 1.0, 1e9},
                      Field{&C::in, "in", "columns of each", 1.0, 1e9}};
  }
};

// Where the numbers came from.
struct Provenance {
  std::string source_xxh64;  // of the source's model.safetensors, 16 hexadecimal digits
  std::string options;       // as the command line spells them
  std::string calibration;
  std::int64_t samples = 0, calibration_tokens = 0, seed = 0;
  double expert_bits_per_weight = 0;
  std::string validation;  // since version 3, like the next
  std::int64_t validation_bytes = 0;
  double loss_before = 0, loss_after = 0;

  static auto fields() {
    using C = Provenance;
    return std::tuple{
        Field{&C::source_xxh64, "source_xxh64", "hash of the model this was made from"},
        Field{&C::options, "options", "of the method"},
        Field{&C::calibration, "calibration", "corpus of the calibration samples"},
        Field{&C::samples, "samples", "calibration samples"},
        Field{&C::calibration_tokens, "calibration_tokens", "tokens in them"},
        Field{&C::seed, "seed", "that chose them"},
        Field{&C::expert_bits_per_weight, "expert_bits_per_weight", "every stored bit counted"},
        Field{&C::validation, "validation", "corpus that was scored"},
        Field{&C::validation_bytes, "validation_bytes", "bytes of it that were"},
        Field{&C::loss_before, "loss_before", "nats per token on the validation text"},
        Field{&C::loss_after, "loss_after", "the same after compression"}};
  }
};

struct Quantization {
  std::string quant_method = "mote";
  std::int64_t format_version = kFormatVersion;
  std::string bits, method;
  std::int64_t group_size = -1;  // one grid per row
  std::string activation_precision = "float32";
  Provenance made_from;
  std::vector<PackedTensor> tensors;

  static auto fields() {
    using C = Quantization;
    return std::tuple{
        Field{&C::quant_method, "quant_method", "always mote"},
        Field{&C::format_version, "format_version", "of this description and the parts"},
        Field{&C::bits, "bits", "what was asked for"},
        Field{&C::method, "method", "how weights were rounded"},
        Field{&C::group_size, "group_size", "columns that share a grid; -1: a row"},
        Field{&C::activation_precision, "activation_precision", "of the products"},
        Field{&C::made_from, "made_from", "provenance"},
        Field{&C::tensors, "tensors", "the packed tensors"}};
  }
};

// Reads and checks a description. Refuses other methods and newer versions by name; `file` is for
// messages.
Quantization read_quantization(const Json& json, const std::string& file);

// The parts of a packed tensor, as the file holds them.
std::vector<TensorSpec> part_specs(const std::string& name, const kernels::PackedMatrices& w);
void write_parts(ModelWriter& writer, const std::string& name, const kernels::PackedMatrices& w);

// A packed tensor of a mapped file, checked: it can be used without further checks. `converted`
// owns the parts where the file's format_version has them in another layout; else they lie in the
// file.
struct LoadedTensor {
  kernels::PackedMatrices w;
  std::shared_ptr<const kernels::PackedStack> converted;
};
LoadedTensor packed_in(const TensorSource& file, const PackedTensor& tensor,
                       std::int64_t format_version, const Executor& executor);

// 16 hexadecimal digits.
std::string xxh64(std::string_view bytes);
std::string xxh64_of_file(const fs::path& path);

}  // namespace mote::checkpoint
