// load_tokenizer: the files of a folder, and what the ones beside the tokenizer say of it.
#include <algorithm>
#include <map>

#include "base/file.h"
#include "text/json_reader.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

namespace mote::text {
namespace {

constexpr std::uint64_t kMostBytes = 100'000'000;  // three times the largest in use

// A JSON object of the folder; an empty one where there is no such file.
struct Settings {
  Settings(const fs::path& folder, const char* name) : reader((folder / name).string()) {
    std::error_code ignored;
    root = SortedJson::object();
    if (!fs::exists(folder / name, ignored)) return;
    text = read_file(folder / name, kMostSettingsBytes);
    root = reader.parse(text);
    if (!root.is_object()) reader.fail("", "is not a JSON object");
  }
  const JsonReader reader;
  std::string text;
  SortedJson root;
};

// What one token is called: a string, or an object with its content. Nothing for null.
std::optional<std::string> content_of(const JsonReader& reader, const SortedJson& value,
                                      const std::string& place) {
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  return reader.text(value, "content", place);
}

struct Extra {
  AddedToken token;
  std::string file, place;
};

// What the files beside the tokenizer say.
struct Beside {
  std::map<TokenId, Extra> by_id;          // tokens with their ids
  std::vector<std::string> more_specials;  // without
  std::optional<std::string> begin, end, padding, unknown;
  std::optional<bool> add_begin, add_end, legacy;
  std::optional<int> extra_ids;
  std::vector<std::pair<std::string, std::string>> files;
};

std::optional<bool> flag_of(const Settings& settings, const char* key) {
  if (settings.reader.optional(settings.root, key).is_null()) return std::nullopt;
  return settings.reader.flag(settings.root, key, false, "");
}

void take_id(Beside& beside, const Settings& settings, std::size_t id, AddedToken token,
             const std::string& place) {
  if (id > 1u << 30) settings.reader.fail(place, concat("has id ", id, ", too many"));
  token.id = static_cast<TokenId>(id);
  const auto [found, is_new] =
      beside.by_id.emplace(token.id, Extra{token, settings.reader.file(), place});
  if (!is_new && found->second.token.content != token.content)
    settings.reader.fail(place, concat("has id ", id, ", which is '", found->second.token.content,
                                       "' in ", found->second.file));
}

void take_config(Beside& beside, const Settings& config) {
  const JsonReader& json = config.reader;
  const auto role = [&](const char* key, std::optional<std::string>& into) {
    if (const auto content = content_of(json, json.optional(config.root, key), key)) into = content;
  };
  role("bos_token", beside.begin);
  role("eos_token", beside.end);
  role("pad_token", beside.padding);
  role("unk_token", beside.unknown);
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const SortedJson& more = json.optional(config.root, key);
    if (more.is_null()) continue;
    if (!more.is_array() && !more.is_object()) json.fail(key, "is neither a list nor an object");
    for (const auto& [name, value] : more.items())
      if (const auto content = content_of(json, value, concat(key, ".", name)))
        beside.more_specials.push_back(*content);
  }
  const SortedJson& decoder = json.optional(config.root, "added_tokens_decoder");
  if (decoder.is_null()) return;
  if (!decoder.is_object()) json.fail("added_tokens_decoder", "is not a JSON object");
  for (const auto& [id, token] : decoder.items()) {
    const std::string place = "added_tokens_decoder." + id;
    if (id.empty() || id.size() > 10 || id.find_first_not_of("0123456789") != std::string::npos)
      json.fail(place, "is no token's id");
    const bool special = json.flag(token, "special", false, place);
    take_id(
        beside, config, std::stoull(id),
        {json.text(token, "content", place), 0, special,
         json.flag(token, "single_word", false, place), json.flag(token, "lstrip", false, place),
         json.flag(token, "rstrip", false, place), json.flag(token, "normalized", !special, place)},
        place);
  }
}

Beside read_beside(const fs::path& folder) {
  Beside beside;
  const Settings map(folder, "special_tokens_map.json"), added(folder, "added_tokens.json"),
      config(folder, "tokenizer_config.json");
  take_config(beside, map);
  take_config(beside, config);
  for (const auto& [content, id] : added.root.items())
    take_id(beside, added, added.reader.whole(id, content), {content}, content);
  beside.add_begin = flag_of(config, "add_bos_token");
  beside.add_end = flag_of(config, "add_eos_token");
  beside.legacy = flag_of(config, "legacy");
  if (const SortedJson& count = config.reader.optional(config.root, "extra_ids");
      !count.is_null()) {
    const std::size_t ids = config.reader.whole(count, "extra_ids");
    if (ids > 1'000'000) config.reader.fail("extra_ids", concat("is ", ids, ", too many"));
    beside.extra_ids = static_cast<int>(ids);
  }
  for (const Settings* settings : {&map, &added, &config})
    if (!settings->text.empty())
      beside.files.emplace_back(fs::path(settings->reader.file()).filename().string(),
                                settings->text);
  return beside;
}

void add_to(TokenizerModel& model, const Extra& extra, const JsonReader& json) {
  const auto next = static_cast<TokenId>(model.tokens.size());
  const AddedToken& token = extra.token;
  const auto at = static_cast<std::size_t>(token.id);
  if (token.id > next)
    throw Error(ErrorKind::file,
                concat(extra.file, ": ", extra.place, " has id ", token.id, " and ", next,
                       " is the next free one in ", json.file(), "; ids must be without a gap"))
        .in(extra.file)
        .at(extra.place);
  if (token.id == next) {
    model.tokens.push_back({token.content, token.special, true, false, 0});
    model.added.push_back(token);
    return;
  }
  if (model.tokens[at].added && model.tokens[at].bytes == token.content) return;
  if (model.tokens[at].added || model.tokens[at].bytes != token.content)
    throw Error(ErrorKind::file,
                concat(extra.file, ": ", extra.place, " is '", token.content, "' and token ",
                       token.id, " of ", json.file(), " is '", model.tokens[at].bytes, "'"))
        .in(extra.file)
        .at(extra.place);
  model.tokens[at].added = true;
  model.tokens[at].special = token.special;
  model.tokens[at].in_model = model.tokens[at].in_model && !token.special;
  model.added.push_back(token);
}

// As a special token: one that is there, or one more.
void make_special(TokenizerModel& model, const std::string& content) {
  for (AddedToken& token : model.added) {
    if (token.content != content) continue;
    token.special = true;
    model.tokens[static_cast<std::size_t>(token.id)].special = true;
    model.tokens[static_cast<std::size_t>(token.id)].in_model = false;
    return;
  }
  const auto found =
      std::find_if(model.tokens.begin(), model.tokens.end(),
                   [&](const TokenizerModel::Token& token) { return token.bytes == content; });
  const auto id = static_cast<TokenId>(found - model.tokens.begin());
  if (found == model.tokens.end())
    model.tokens.push_back({content, true, true, false, 0});
  else
    *found = {content, true, true, false, found->score};
  model.added.push_back({content, id, true});
}

std::unique_ptr<Tokenizer> from_json(const fs::path& path, const Beside& beside) {
  const JsonReader json(path.string());
  TokenizerModel model =
      parse_tokenizer_json(read_file(path, kMostBytes), path.string(), beside.end.value_or(""));
  for (const auto& [id, extra] : beside.by_id) add_to(model, extra, json);
  for (const std::string& content : beside.more_specials) make_special(model, content);
  const auto role = [&](const std::optional<std::string>& name, const char* key) {
    std::optional<TokenId> id;
    if (!name) return id;
    for (std::size_t i = 0; i < model.tokens.size() && !id; ++i)
      if (model.tokens[i].bytes == *name) id = static_cast<TokenId>(i);
    if (!id)
      model.warnings.push_back(concat(path.parent_path().string(), ": ", key, " is '", *name,
                                      "', which is no token of ", kTokenizerFile, "; unused"));
    return id;
  };
  model.roles = {role(beside.begin, "bos_token"), role(beside.end, "eos_token"),
                 role(beside.padding, "pad_token"), role(beside.unknown, "unk_token")};
  const auto put = [&](std::vector<TokenId>& where, std::optional<bool> wanted,
                       std::optional<TokenId> id, const char* key) {
    if (!wanted) return;
    if (*wanted && !id)
      json.fail(key, "is true in tokenizer_config.json, which names no such token");
    if (*wanted)
      where = {*id};
    else if (id)
      std::erase(where, *id);
  };
  put(model.around.before, beside.add_begin, model.roles.begin, "add_bos_token");
  put(model.around.after, beside.add_end, model.roles.end, "add_eos_token");
  model.companions = beside.files;
  try {
    return make_tokenizer(std::move(model));
  } catch (const Error& error) {
    json.fail("", concat("cannot be used: ", error.what()));
  }
}

std::unique_ptr<Tokenizer> from_sentencepiece(const fs::path& path, const Beside& beside) {
  const bool t5 = path.filename() == "spiece.model";
  std::string bytes = read_file(path, kMostBytes);
  SentencePieceOptions options;
  options.extra_ids = beside.extra_ids.value_or(t5 ? kT5Sentinels : 0);
  options.legacy = beside.legacy.value_or(false);
  options.add_begin = beside.add_begin.value_or(!t5);
  options.add_end = beside.add_end.value_or(t5);
  for (const auto& [id, extra] : beside.by_id)
    options.added.push_back({extra.token.content, id, extra.token.special});
  options.files = beside.files;
  options.files.insert(options.files.begin(), {path.filename().string(), bytes});
  return make_sentencepiece_tokenizer(std::move(bytes), std::move(options), path.string());
}

}  // namespace

const std::vector<std::string>& tokenizer_files() {
  static const std::vector<std::string> files = {kTokenizerFile, "spiece.model", "tokenizer.model"};
  return files;
}

std::filesystem::path tokenizer_file(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const std::string& file : tokenizer_files())
    if (fs::exists(folder / file, ignored)) return folder / file;
  return folder / kTokenizerFile;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  const fs::path file = tokenizer_file(folder);
  std::error_code ignored;
  if (fs::exists(file, ignored)) {
    const Beside beside = read_beside(folder);
    return file.filename() == kTokenizerFile ? from_json(file, beside)
                                             : from_sentencepiece(file, beside);
  }
  throw Error(ErrorKind::system,
              concat(file.string(),
                     ": no such file, nor spiece.model or tokenizer.model beside "
                     "it"))
      .in(file.string());
}

}  // namespace mote::text
