// The parts of tokenizer.json around its model, each known kind of it.
#pragma once

#include "text/json_reader.h"
#include "text/tokenizer_model.h"

namespace mote::text {

void read_normalizer(const JsonReader& reader, const SortedJson& part, TokenizerModel& model);

// Sets the kind to byte_bpe if there is a ByteLevel, which must be the last.
void read_pre_tokenizer(const JsonReader& reader, const SortedJson& part, TokenizerModel& model);

// What is put around one text. `part` stands at post_processor.
void read_post_processor(const JsonReader& reader, const SortedJson& part, TokenizerModel& model);

void read_decoder(const JsonReader& reader, const SortedJson& part, TokenizerModel& model);

}  // namespace mote::text
