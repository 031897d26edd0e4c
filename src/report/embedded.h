// Files that are part of the program (src/report/CMakeLists.txt).
#pragma once

#include <string_view>

namespace mote::report {

std::string_view chart_library();  // chart.min.js
std::string_view page_script();    // page.js
std::string_view page_style();     // page.css

}  // namespace mote::report
