// A corpus of texts in memory.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/corpus.h"

namespace mote::test {

class Texts final : public text::Corpus {
 public:
  explicit Texts(std::vector<std::string> texts) : texts_(std::move(texts)) {
    for (const std::string& text : texts_) documents_.push_back(text);
  }
  Texts(const Texts&) = delete;  // its documents look into its texts
  Texts& operator=(const Texts&) = delete;
  const std::vector<std::string_view>& documents() const override { return documents_; }

 private:
  const std::vector<std::string> texts_;
  std::vector<std::string_view> documents_;
};

}  // namespace mote::test
