# Writes OUT, the source of cli/commit.h, if the commit that SOURCE is at has changed.
#   cmake -DSOURCE=... -DOUT=commit.cpp -P commit.cmake
cmake_minimum_required(VERSION 3.25)

find_program(git git)
set(commit "unknown")
if(git)
  # An archive may lie in the tree of another project: its commit is not ours.
  execute_process(COMMAND ${git} rev-parse --show-toplevel WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  file(REAL_PATH ${SOURCE} source)
  if(top STREQUAL source)
    execute_process(COMMAND ${git} describe --always --dirty --exclude=* WORKING_DIRECTORY ${SOURCE}
                    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(found)
      set(commit ${found})
    endif()
  endif()
endif()

set(text "#include \"cli/commit.h\"\n\nconst char* mote::cli::commit() {\n  return \"${commit}\";\n}\n")
set(before "")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT text STREQUAL before)
  file(WRITE ${OUT} "${text}")
endif()
