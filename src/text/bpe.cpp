#include "text/bpe.h"

#include "base/check.h"
#include "text/bpe_model.h"
#include "text/bpe_train.h"

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

}  // namespace mote::text
