#include "text/protobuf_fields.h"

#include "base/check.h"

namespace mote::text {
namespace {

std::uint64_t take_varint(std::string_view& rest) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    MOTE_CHECK(!rest.empty(), "the message ends inside a number");
    const auto byte = static_cast<std::uint8_t>(rest[0]);
    rest.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  throw Error(ErrorKind::value, "the message has a number of more than 64 bits");
}

std::string_view take(std::string_view& rest, std::uint64_t size) {
  MOTE_CHECK(size <= rest.size(), "the message ends inside a field: it needs ", size, " bytes of ",
             rest.size());
  const std::string_view taken = rest.substr(0, size);
  rest.remove_prefix(size);
  return taken;
}

}  // namespace

void for_each_field(std::string_view message,
                    const std::function<void(const ProtobufField&)>& each) {
  while (!message.empty()) {
    const std::uint64_t tag = take_varint(message);
    MOTE_CHECK(tag >> 3 != 0 && tag >> 3 < (1u << 29), "the message has a field ", tag >> 3);
    ProtobufField field;
    field.number = static_cast<std::uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0:
        field.value = take_varint(message);
        break;
      case 1:
      case 5: {
        const std::string_view fixed = take(message, (tag & 7) == 1 ? 8 : 4);
        for (std::size_t i = fixed.size(); i-- > 0;)
          field.value = field.value << 8 | static_cast<std::uint8_t>(fixed[i]);
        break;
      }
      case 2:
        field.bytes = take(message, take_varint(message));
        break;
      default:
        throw Error(ErrorKind::value, concat("the message has a field of type ", tag & 7));
    }
    each(field);
  }
}

}  // namespace mote::text
