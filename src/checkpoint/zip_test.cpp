// Deflated records, as wheels have them; stored ones are tested with the files of torch.save.
#include "checkpoint/zip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/check.h"
#include "tests/support/contains.h"
#include "tests/support/pickles.h"

namespace mote::checkpoint {
namespace {

using namespace test::pickles;

std::string deflated(const std::string& text) {
  std::string out(text.size() + 1000, '\0');
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Over the room that pieces are unpacked into.
std::string long_text() {
  std::string text;
  for (int i = 0; i < 400'000; ++i) text += std::to_string(i % 1013 * 7);
  return text;
}

Record record(const std::string& text) {
  Record r{"x.gguf", deflated(text)};
  r.size = static_cast<std::uint32_t>(text.size());
  r.crc32 = static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()));
  r.method = 8;
  return r;
}

std::string read(const std::string& file) {
  const auto records = parse_zip(std::as_bytes(std::span(file)), "w.whl", ZipMethods::deflated_too);
  std::string text;
  read_record(records.at("x.gguf"), "x.gguf", "w.whl", [&](std::span<const std::byte> bytes) {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  });
  return text;
}

std::string refusal(const std::string& file) {
  try {
    read(file);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Zip, UnpacksWhatIsDeflated) {
  for (const std::string& text : {std::string(), std::string("a"), long_text()})
    EXPECT_EQ(read(zip({record(text)})), text);
}

TEST(Zip, RefusesDeflatedRecordsThatAreNotWhatTheArchiveSays) {
  const Record good = record(long_text());
  Record bad = good;
  bad.crc32 ^= 1;
  EXPECT_TRUE(test::contains(refusal(zip({bad})), "CRC-32"));
  for (const std::int64_t more : {-1, 1}) {
    bad = good;
    bad.size += static_cast<decltype(bad.size)>(more);
    EXPECT_TRUE(test::contains(refusal(zip({bad})), "bytes, the archive says"));
  }
  bad = good;
  bad.bytes.resize(bad.bytes.size() / 2);
  bad.stored = static_cast<decltype(bad.stored)>(bad.bytes.size());
  EXPECT_TRUE(test::contains(refusal(zip({bad})), "damaged"));
  bad = good;
  bad.bytes += "more";
  bad.stored = static_cast<decltype(bad.stored)>(bad.bytes.size());
  EXPECT_TRUE(test::contains(refusal(zip({bad})), "damaged"));
  bad = good;
  bad.method = 12;
  EXPECT_TRUE(test::contains(refusal(zip({bad})), "method 12"));
}

}  // namespace
}  // namespace mote::checkpoint
