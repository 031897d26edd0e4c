// The records of a ZIP archive: stored as they are, as torch.save writes it, or deflated, as in a wheel
// of Python. APPNOTE.TXT of PKWARE, ZIP64 included. Sizes are those of the central directory, since
// local headers leave them out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

namespace mote::checkpoint {

struct ZipRecord {
  std::span<const std::byte> bytes;  // as they are stored
  std::uint32_t crc32 = 0;           // what the archive says, as of `size`
  std::uint64_t size = 0;            // when unpacked
  bool deflated = false;
};

enum class ZipMethods { stored, deflated_too };

// By name. Throws a file error for records that are compressed otherwise than `methods` allow, or
// encrypted, names that come twice, and records that overlap or leave the file. No record is read.
std::map<std::string, ZipRecord> parse_zip(std::span<const std::byte> bytes,
                                           const std::string& file,
                                           ZipMethods methods = ZipMethods::stored);

// Gives the record's bytes in pieces, unpacked. Throws a file error where they are not as many as the
// archive says, or have another CRC-32; `take` has had pieces then.
void read_record(const ZipRecord& record, const std::string& name, const std::string& file,
                 const std::function<void(std::span<const std::byte>)>& take);

// Reads the record and throws a file error where its CRC-32 is another.
void check_crc(const ZipRecord& record, const std::string& name, const std::string& file);

}  // namespace mote::checkpoint
