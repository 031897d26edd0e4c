// A template cut into text, and the tokens of its {{ }} and {% %}.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mote::text::jinja {

struct Token {
  enum class Kind {
    text,
    begin_print,
    end_print,
    begin_block,
    end_block,
    name,
    string,
    integer,
    real,
    sign,
    end
  };
  Kind kind;
  std::string text;
  int line;
};

// As Jinja with trim_blocks and lstrip_blocks: the newline after a block and the white space before
// it on its line are no text; - at a tag's edge drops all white space there, + keeps it. Comments
// are dropped, {% raw %} is text, the template's last newline too. Throws Error with the line.
std::vector<Token> tokens_of(std::string_view source);

}  // namespace mote::text::jinja
