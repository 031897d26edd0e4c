#include "base/file.h"
#include "base/stopwatch.h"
#include "cli/command.h"
#include "text/batches.h"
#include "text/bpe.h"

namespace mote::cli {
namespace {

// Several corpora as one, documents in the order of the arguments.
class Joined final : public text::Corpus {
 public:
  Joined(const std::vector<std::string>& names, const text::TextFormat& format) {
    for (const std::string& name : names) {
      parts_.push_back(text::open_corpus(name, 0, format));
      const auto& documents = parts_.back()->documents();
      documents_.insert(documents_.end(), documents.begin(), documents.end());
    }
  }
  const std::vector<std::string_view>& documents() const override { return documents_; }

 private:
  std::vector<std::unique_ptr<text::Corpus>> parts_;
  std::vector<std::string_view> documents_;
};

class Prepare final : public Verb {
 public:
  void add_options(CLI::App& app) override {
    app.add_option("CORPUS", corpora_, "NAME[:SPLIT], FILE[:SPLIT] or folders")->required();
    app.add_option("--out", out_, "a new folder for the tokens")->required()->check(not_empty());
    app.add_option("--tokenizer", tokenizer_,
                   "bytes, bpe or unigram (learned from the text), or a folder with a tokenizer")
        ->check(not_empty());
    size_option_ =
        app.add_option("--vocab-size", vocab_size_, "tokens of a new bpe or unigram tokenizer")
            ->check(from_to(257, 1000000));
    format_.add(app);
  }

  Json run(const Context& context) override {
    if (!text::is_learned_tokenizer(tokenizer_))
      refuse_unused(size_option_, "--tokenizer " + tokenizer_, "bpe");
    return whole_or_nothing(out_, [&] { return prepare(context); });
  }

 private:
  Json prepare(const Context& context) const {
    const Stopwatch stopwatch;
    StagedFolder out(out_);
    const Joined corpus(corpora_, format_.format());
    const auto tokenizer = text::tokenizer_named(tokenizer_, corpus, vocab_size_, context.threads);
    std::string names;
    for (const std::string& name : corpora_) names += (names.empty() ? "" : " ") + name;
    const text::Prepared p = text::prepare(corpus, *tokenizer, names, out, context.threads);
    return {{"tokens", p.tokens},
            {"bytes", p.bytes},
            {"bytes_per_token", static_cast<double>(p.bytes) / static_cast<double>(p.tokens)},
            {"vocab_size", p.vocab_size},
            {"seconds", stopwatch.seconds()}};
  }

  std::vector<std::string> corpora_;
  std::string out_, tokenizer_ = "bpe";
  TextFormatOptions format_;
  int vocab_size_ = 32768;
  const CLI::Option* size_option_ = nullptr;
};

}  // namespace

std::unique_ptr<Verb> make_prepare() {
  return std::make_unique<Prepare>();
}

}  // namespace mote::cli
