// How the texts of a model begin and end.
#pragma once

#include <filesystem>
#include <vector>

#include "base/fields.h"
#include "text/tokenizer.h"

namespace mote::model {

inline constexpr const char* kGenerationFile = "generation_config.json";

struct TextBounds {
  std::vector<text::TokenId> before;  // what a text begins with; none: its own first token
  std::vector<text::TokenId> ends;    // any of them ends a text that is made; rising
  // Of encoder-decoders, whose texts are targets: what a source ends with.
  std::vector<text::TokenId> after_source = {};

  bool ends_text(text::TokenId id) const;
};
// Its file: bos_token_id, of encoder-decoders decoder_start_token_id, and eos_token_id, each null, a
// number, or a list.
Json generation_config(const TextBounds& bounds);

// Of a tokenizer made here: the end of text, before and after; a target begins with start_token.
TextBounds own_bounds(const text::Tokenizer& tokenizer, bool reads_source = false);

// Of a folder that mote wrote: what generation_config.json says, if it is there. The functions throw
// a config error for an id that is none.
TextBounds own_bounds(const text::Tokenizer& tokenizer, const std::filesystem::path& folder);

// Of other families' folders: before a text what the tokenizer's file puts there; ends are the
// tokenizer's end and eos_token_id of generation_config.json and config.json, all of them together.
TextBounds foreign_bounds(const text::Tokenizer& tokenizer, const std::filesystem::path& folder);

}  // namespace mote::model
