// The text that a model was trained and validated on.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "text/pairs.h"

namespace mote::compress {

struct OwnText {
  std::filesystem::path recipe;   // that says so
  std::string train, valid;       // corpora; valid may be empty
  std::uint64_t valid_bytes = 0;  // of valid, the first ones; 0: all
  text::TextFormat format;
  text::Task task = text::Task::text;
  text::SpanConfig spans;
};

// By the recipe.toml of the run that the folder is of, or is a checkpoint of; none without one.
std::optional<OwnText> own_text(const std::filesystem::path& model_folder);

}  // namespace mote::compress
