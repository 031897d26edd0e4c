// The records of a ZIP archive whose records are stored as they are, as torch.save writes it:
// APPNOTE.TXT of PKWARE, ZIP64 included. Sizes are those of the central directory, since local
// headers leave them out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace mote::checkpoint {

struct ZipRecord {
  std::span<const std::byte> bytes;
  std::uint32_t crc32 = 0;  // what the archive says
};

// By name. Throws a file error for compressed and encrypted records, names that come twice, and
// records that overlap or leave the file. No record is read.
std::map<std::string, ZipRecord> parse_zip(std::span<const std::byte> bytes,
                                           const std::string& file);

// Reads the record and throws a file error where its CRC-32 is another.
void check_crc(const ZipRecord& record, const std::string& name, const std::string& file);

}  // namespace mote::checkpoint
