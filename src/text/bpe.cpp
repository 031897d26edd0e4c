#include "text/bpe.h"

#include <algorithm>

#include "base/check.h"
#include "base/file.h"
#include "base/nearest.h"
#include "text/bpe_train.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_model.h"

namespace mote::text {

std::unique_ptr<Tokenizer> make_byte_tokenizer() {
  return make_tokenizer(byte_model());
}

std::unique_ptr<Tokenizer> train_bpe(const Corpus& corpus, int vocab_size, int threads) {
  TokenizerModel model = byte_model();
  const auto first_result = static_cast<TokenId>(model.tokens.size());
  MOTE_CHECK(vocab_size >= first_result, "vocab_size is ", vocab_size, " and the bytes with ",
             "<|endoftext|> alone are ", first_result, "; ask for at least that many tokens");
  model.merges = learn_merges(count_pieces(corpus.documents(), threads), first_result,
                              vocab_size - first_result);
  for (const Merge& merge : model.merges) {
    const auto bytes = [&](TokenId id) { return model.tokens[static_cast<std::size_t>(id)].bytes; };
    model.tokens.push_back({bytes(merge.left) + bytes(merge.right)});
  }
  return make_tokenizer(std::move(model));
}

bool is_learned_tokenizer(const std::string& name) {
  return name == "bpe" || name == "unigram";
}

std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name) {
  if (name == "bytes") return make_byte_tokenizer();
  const std::vector<std::string>& files = tokenizer_files();
  fs::path folder = name;
  if (std::find(files.begin(), files.end(), folder.filename().string()) != files.end())
    folder = folder.has_parent_path() ? folder.parent_path() : ".";
  std::error_code ignored;
  const bool there = std::any_of(files.begin(), files.end(), [&](const std::string& file) {
    return fs::exists(folder / file, ignored);
  });
  if (!there)
    throw Error(
        ErrorKind::file,
        concat("tokenizer '", name, "' is neither bytes nor bpe nor unigram nor a folder with a ",
               kTokenizerFile, ", spiece.model or tokenizer.model",
               did_you_mean(name, {"bytes", "bpe", "unigram"})))
        .in(name)
        .at("tokenizer");
  return load_tokenizer(folder);
}

std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name, const Corpus& corpus,
                                           int vocab_size, int threads) {
  if (name == "bpe") return train_bpe(corpus, vocab_size, threads);
  if (name == "unigram") return train_unigram(corpus, vocab_size, kT5Sentinels);
  return tokenizer_named(name);
}

}  // namespace mote::text
