#include "text/bpe.h"

#include "base/check.h"
#include "base/file.h"
#include "base/nearest.h"
#include "text/bpe_model.h"
#include "text/bpe_train.h"
#include "text/tokenizer_json.h"

namespace mote::text {

std::unique_ptr<Tokenizer> make_byte_tokenizer() {
  return make_bpe_tokenizer(byte_model());
}

std::unique_ptr<Tokenizer> train_bpe(const Corpus& corpus, int vocab_size, int threads) {
  BpeModel model = byte_model();
  const auto first_result = static_cast<TokenId>(model.tokens.size());
  MOTE_CHECK(vocab_size >= first_result, "vocab_size is ", vocab_size, " and the bytes with ",
             "<|endoftext|> alone are ", first_result, "; ask for at least that many tokens");
  model.merges = learn_merges(count_pieces(corpus.documents(), threads), first_result,
                              vocab_size - first_result);
  for (const Merge& merge : model.merges) {
    const auto bytes = [&](TokenId id) { return model.tokens[static_cast<std::size_t>(id)].bytes; };
    model.tokens.push_back({bytes(merge.left) + bytes(merge.right)});
  }
  return make_bpe_tokenizer(std::move(model));
}

std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name) {
  if (name == "bytes") return make_byte_tokenizer();
  if (name == "unigram")
    throw Error(ErrorKind::unsupported,
                "tokenizer unigram: not built yet; choose bytes, bpe or a tokenizer's folder")
        .at("tokenizer");
  fs::path folder = name;
  if (folder.filename() == kTokenizerFile)
    folder = folder.has_parent_path() ? folder.parent_path() : ".";
  std::error_code ignored;
  if (!fs::exists(folder / kTokenizerFile, ignored))
    throw Error(ErrorKind::file,
                concat("tokenizer '", name, "' is neither bytes nor bpe nor a folder with a ",
                       kTokenizerFile, did_you_mean(name, {"bytes", "bpe"})))
        .in(name)
        .at("tokenizer");
  return load_tokenizer(folder);
}

std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name, const Corpus& corpus,
                                           int vocab_size, int threads) {
  return name == "bpe" ? train_bpe(corpus, vocab_size, threads) : tokenizer_named(name);
}

}  // namespace mote::text
