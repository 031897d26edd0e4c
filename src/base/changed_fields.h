// A config as what differs from its defaults: the same for a program that has more fields, as long as
// these have their defaults.
#pragma once

#include "base/fields.h"

namespace mote {

// Every field of `value` that is not as in `defaults`; of a field of several kinds always the kind, and
// what differs from that kind's own defaults where `defaults` are of another; an optional field where it
// has a value.
template <class T>
Json changed_fields(const T& value, const T& defaults) {
  if constexpr (IsConfig<T>) {
    Json changed = Json::object();
    const auto add = [&](const auto& field) {
      const auto &now = value.*field.member, &before = defaults.*field.member;
      if constexpr (IsOptional<std::remove_cvref_t<decltype(now)>>::value) {
        if (now) changed[field.name] = to_json(*now);
      } else if (to_json(now) != to_json(before)) {
        changed[field.name] = changed_fields(now, before);
      }
    };
    std::apply([&](const auto&... field) { (add(field), ...); }, T::fields());
    return changed;
  } else if constexpr (IsOneOf<T>::value) {
    return value.visit([&](const auto& config) {
      using Kind = std::remove_cvref_t<decltype(config)>;
      const Kind* before = defaults.template get_if<Kind>();
      Json changed = changed_fields(config, before ? *before : Kind{});
      changed["kind"] = Kind::kKind;
      return changed;
    });
  } else if constexpr (IsVector<T>::value) {
    using Item = typename T::value_type;
    Json list = Json::array();
    for (const Item& item : value)
      if constexpr (IsConfig<Item> || IsOneOf<Item>::value)
        list.push_back(changed_fields(item, Item{}));
      else
        list.push_back(to_json(item));
    return list;
  } else {
    return to_json(value);
  }
}

}  // namespace mote
