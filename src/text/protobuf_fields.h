// The fields of a protocol buffer's message, enough to look at a file before a library reads it.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace mote::text {

struct ProtobufField {
  std::uint32_t number = 0;
  std::uint64_t value = 0;  // of a varint or a fixed number
  std::string_view bytes;   // of a string or a message
};

// each(field) for the fields in order. Throws Error(value) for what is not a message.
void for_each_field(std::string_view message,
                    const std::function<void(const ProtobufField&)>& each);

}  // namespace mote::text
