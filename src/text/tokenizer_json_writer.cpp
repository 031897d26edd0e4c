#include <algorithm>
#include <unordered_map>

#include "base/fields.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace mote::text {
namespace {

using Kind = TokenizerModel::Kind;
constexpr const char* kSign = "\xE2\x96\x81";  // U+2581

Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json pre_tokenizer(const TokenizerModel& model) {
  if (model.kind != Kind::byte_bpe) return nullptr;
  if (model.steps == std::vector<PreStep>{{PreStep::Kind::cut, {kGpt2Pattern}, {}}})
    return byte_level(false, true);
  Json parts = Json::array();
  for (const PreStep& step : model.steps) {
    MOTE_CHECK(step.kind == PreStep::Kind::cut && step.cut.behavior == Cut::Behavior::isolated &&
                   !step.cut.invert,
               "a tokenizer with other cuts than isolated ones cannot be written");
    parts.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", step.cut.pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  parts.push_back(byte_level(false, false));
  return {{"type", "Sequence"}, {"pretokenizers", parts}};
}

Json replace(const std::string& from, const std::string& to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json normalizer(const TokenizerModel& model) {
  if (!model.spaces_to_signs) return nullptr;
  if (!model.space_prefix) return replace(" ", kSign);
  return {{"type", "Sequence"},
          {"normalizers",
           Json::array({{{"type", "Prepend"}, {"prepend", kSign}}, replace(" ", kSign)})}};
}

Json decoder(const TokenizerModel& model) {
  if (model.kind == Kind::byte_bpe) return byte_level(true, true);
  Json parts = Json::array({replace(kSign, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (model.space_prefix)
    parts.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", parts}};
}

Json post_processor(const TokenizerModel& model) {
  if (model.around.before.empty() && model.around.after.empty()) return nullptr;
  Json single = Json::array(), tokens = Json::object();
  const auto add = [&](TokenId id) {
    const std::string& name = model.tokens[static_cast<std::size_t>(id)].bytes;
    single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
    tokens[name] = {{"id", name}, {"ids", Json::array({id})}, {"tokens", Json::array({name})}};
  };
  for (const TokenId id : model.around.before) add(id);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  for (const TokenId id : model.around.after) add(id);
  Json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

// Pairs in the order in which scores would join them.
std::vector<Merge> merges_by_score(const TokenizerModel& model) {
  std::unordered_map<std::string_view, TokenId> id_of;
  for (std::size_t id = 0; id < model.tokens.size(); ++id)
    if (model.tokens[id].in_model) id_of.emplace(model.tokens[id].bytes, static_cast<TokenId>(id));
  std::vector<Merge> merges;
  for (std::size_t id = 0; id < model.tokens.size(); ++id) {
    const std::string_view text = model.tokens[id].bytes;
    if (!model.tokens[id].in_model) continue;
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = id_of.find(text.substr(0, cut)), right = id_of.find(text.substr(cut));
      if (left != id_of.end() && right != id_of.end())
        merges.push_back({left->second, right->second, static_cast<TokenId>(id)});
    }
  }
  const auto score = [&](const Merge& merge) {
    return model.tokens[static_cast<std::size_t>(merge.result)].score;
  };
  std::stable_sort(merges.begin(), merges.end(),
                   [&](const Merge& a, const Merge& b) { return score(a) > score(b); });
  return merges;
}

}  // namespace

std::string to_tokenizer_json(const TokenizerModel& model) {
  MOTE_CHECK(
      model.normalizer.empty() && (model.kind == Kind::byte_bpe || model.kind == Kind::scored_bpe),
      "a tokenizer of this kind can be written only as the file that it was read from");
  const bool bytes = model.kind == Kind::byte_bpe;
  const auto written = [&](TokenId id) {
    const std::string& text = model.tokens[static_cast<std::size_t>(id)].bytes;
    return bytes ? to_byte_alphabet(text) : text;
  };
  Json vocab = Json::object();
  // Appended, not looked up: the tokens differ, and a lookup goes through all of them. Added tokens
  // stand here too, since a reader may give new ids to those that do not.
  auto& entries = vocab.get_ref<Json::object_t&>();
  for (std::size_t id = 0; id < model.tokens.size(); ++id) {
    const TokenizerModel::Token& token = model.tokens[id];
    entries.emplace_back(token.added ? token.bytes : written(static_cast<TokenId>(id)), id);
  }
  Json added = Json::array();
  for (const AddedToken& token : model.added)
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.strip_left},
                     {"rstrip", token.strip_right},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  Json merges = Json::array();
  for (const Merge& merge : bytes ? model.merges : merges_by_score(model))
    merges.push_back(Json::array({written(merge.left), written(merge.right)}));

  Json root = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", added},
               {"normalizer", normalizer(model)},
               {"pre_tokenizer", pre_tokenizer(model)},
               {"post_processor", post_processor(model)},
               {"decoder", decoder(model)}};
  root["model"] = {
      {"type", "BPE"},
      {"dropout", nullptr},
      {"unk_token", bytes || !model.unknown
                        ? Json(nullptr)
                        : Json(model.tokens[static_cast<std::size_t>(*model.unknown)].bytes)},
      {"continuing_subword_prefix", nullptr},
      {"end_of_word_suffix", nullptr},
      {"fuse_unk", !bytes},
      {"byte_fallback", model.byte_fallback},
      {"ignore_merges", model.ignore_merges},
      {"vocab", std::move(vocab)},
      {"merges", std::move(merges)}};
  return root.dump(1) + "\n";
}

}  // namespace mote::text
