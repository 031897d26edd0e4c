#include "kernels/core/variants.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "base/nearest.h"
#include "kernels/core/cpu_features.h"

namespace mote::kernels {
namespace {

constexpr std::size_t number(Isa isa) {
  return static_cast<std::size_t>(isa);
}

constexpr bool rows_are_in_order() {
  for (std::size_t i = 0; i < std::size(kIsaRows); ++i)
    if (number(kIsaRows[i].isa) != i) return false;
  return true;
}
static_assert(rows_are_in_order());

// Every "-mNAME" is a feature to have; "-mNAME=..." only advises the compiler.
bool has_all(std::string_view flags) {
  while (!flags.empty()) {
    const std::size_t end = std::min(flags.find(' '), flags.size());
    const std::string_view flag = flags.substr(0, end);
    if (flag.find('=') == flag.npos && !has_feature(flag.substr(2))) return false;
    flags.remove_prefix(std::min(end + 1, flags.size()));
  }
  return true;
}

const IsaRow& row_of(Isa isa) {
  return kIsaRows[number(isa)];
}

}  // namespace

const char* name(Isa isa) {
  return row_of(isa).name;
}

const char* family(Isa isa) {
  return row_of(isa).word;
}

bool supported(Isa isa) {
  static const auto found = [] {
    std::vector<bool> here(std::size(kIsaRows), true);
    for (const IsaRow& row : kIsaRows)
      here[number(row.isa)] = here[number(row.base)] && has_all(row.flags);
    return here;
  }();
  return found[number(isa)];
}

Isa best_isa() {
  Isa best = Isa::reference;
  for (const IsaRow& row : kIsaRows)
    if (supported(row.isa)) best = row.isa;
  return best;
}

std::vector<Isa> all_isas() {
  std::vector<Isa> all;
  for (const IsaRow& row : kIsaRows) all.push_back(row.isa);
  return all;
}

std::vector<Isa> compiled_isas() {
#if MOTE_WITH_AVX2
  return all_isas();
#else
  return {Isa::reference};
#endif
}

Isa ceiling_named(const std::string& text) {
  std::vector<std::string> known;
  for (const IsaRow& row : kIsaRows)
    if (known.empty() || known.back() != row.word) known.emplace_back(row.word);
  if (std::find(known.begin(), known.end(), text) == known.end()) {
    std::string words;
    for (const std::string& each : known) words += (words.empty() ? "" : ", ") + each;
    throw Error(ErrorKind::usage,
                concat("--isa ", text, ": not one of ", words, did_you_mean(text, known)))
        .at("--isa");
  }
  const auto has_word = [&](const IsaRow& row) { return row.word == text; };
  const IsaRow* first = std::find_if(std::begin(kIsaRows), std::end(kIsaRows), has_word);
  if (!supported(first->isa))
    throw Error(ErrorKind::unsupported,
                concat("--isa ", text, ": this processor offers ", family(best_isa()),
                       " at best; choose that or a lower one"))
        .at("--isa");
  Isa ceiling = first->isa;
  for (const IsaRow& row : kIsaRows)
    if (has_word(row)) ceiling = row.isa;
  return ceiling;
}

}  // namespace mote::kernels
