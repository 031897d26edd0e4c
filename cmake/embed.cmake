# Writes OUT, a source that defines mote::report::NAME() as the bytes of FILE.
#   cmake -DFILE=... -DNAME=... -DOUT=... -P embed.cmake
cmake_minimum_required(VERSION 3.25)

file(READ ${FILE} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "#include \"report/embedded.h\"\n\nnamespace {\nconstexpr unsigned char kBytes[] = {${bytes}};\n}\n
std::string_view mote::report::${NAME}() {\n  return {reinterpret_cast<const char*>(kBytes), sizeof kBytes};\n}\n")
