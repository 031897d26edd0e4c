# The layering, checked: which folder includes what (docs/architecture.md), and that vector objects lend no code to others.
#   cmake -DSOURCE=... [-DNM=... -DLIBRARY=libmote_kernels.a -DVARIANTS=a.cpp,b.cpp] -P layout.cmake
cmake_minimum_required(VERSION 3.25)

set(may_base base)
set(may_kernels base kernels)
set(may_text base text)
set(may_checkpoint base kernels text checkpoint)
set(may_model ${may_checkpoint} model)
set(may_report base report)
set(may_train ${may_model} report train)
set(may_compress ${may_model} compress)
set(may_run ${may_model} run)
set(may_compare ${may_model} report train compare)
set(may_bench ${may_model} train compress run bench)
set(may_cli ${may_bench} report compare cli)
set(torch_folders model train compress run compare bench cli)

# Libraries with one user: a pattern of headers, and of the files that may include them.
set(test_files "_(test|bench)\\.cpp$|_cases\\.h$|/(guarded|variant_test)\\.h$")
set(libraries
  "^(gtest|gmock|rapidcheck)[/.]" "${test_files}"
  "^benchmark/" "_bench\\.cpp$|^bench/"
  "^CLI/" "^cli/"
  "^spdlog/" "^src/base/log\\.cpp$"
  "^pcre2\\.h$" "^src/text/regex\\.cpp$"
  "^sentencepiece_" "^src/text/sentencepiece\\.cpp$"
  "^utf8proc\\.h$" "^src/text/unicode\\.cpp$"
  "^toml\\+\\+/" "^src/base/toml\\.cpp$"
  "^immintrin\\.h$" "^src/kernels/core/simd\\.h$"
  "^cuda" "_cuda\\.cu$|^src/kernels/core/device_buffer\\.cpp$"
  "^torch/" "^src/model/torch\\.h$|^cli/commands/doctor\\.cpp$"  # doctor prints torch/version.h
  "^(ATen|c10)/" "\\.cpp$")

# `model` sees kernels through ops/ and weights; two more headers hold a plain struct of theirs.
set(kernel_users "^src/model/(ops/|weight\\.|packed_weight|stored\\.|pass\\.h$|layers/attention\\.h$)")

set(broken "")
function(report file line text rule)
  set(broken "${broken}\n${file}:${line}: includes ${text}: ${rule}" PARENT_SCOPE)
endfunction()

# grep gives each include its line number.
set(roots "")
foreach(root src cli bench)
  if(EXISTS ${SOURCE}/${root})
    list(APPEND roots ${root})
  endif()
endforeach()
execute_process(COMMAND grep -rnHE --include=*.h --include=*.cpp --include=*.cu "^[ \t]*#[ \t]*include" ${roots}
                WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE found COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "[][;]" "_" found "${found}")
string(REPLACE "\n" ";" found "${found}")
set(count 0)
foreach(entry IN LISTS found)
  if(NOT entry MATCHES "^([^:]+):([0-9]+):[^<\"]*([<\"])([^>\"]+)")
    continue()
  endif()
  set(file ${CMAKE_MATCH_1})
  set(line ${CMAKE_MATCH_2})
  set(quote ${CMAKE_MATCH_3})
  set(header ${CMAKE_MATCH_4})
  math(EXPR count "${count} + 1")
  string(REGEX REPLACE "^(src/)?([^/]+)/.*" "\\2" folder ${file})
  string(REGEX REPLACE "/.*" "" target ${header})
  if(NOT DEFINED may_${folder})
    report(${file} ${line} ${header} "src/${folder} is no folder of the table")
  elseif(quote STREQUAL "\"" AND target STREQUAL "tests")
    if(NOT file MATCHES ${test_files})
      report(${file} ${line} ${header} "only tests include tests/")
    endif()
  elseif(file MATCHES "^src/(compress|run)/.*_test\\.cpp$" AND header STREQUAL "train/trainer.h")
    continue()  # a test may train the checkpoint that its stage starts from
  elseif(quote STREQUAL "\"" AND NOT target IN_LIST may_${folder})
    string(REPLACE ";" ", " allowed "${may_${folder}}")
    report(${file} ${line} ${header} "${folder} includes only ${allowed}, as paths from src/")
  elseif(folder STREQUAL "model" AND target STREQUAL "kernels" AND NOT file MATCHES ${kernel_users})
    report(${file} ${line} ${header} "model reaches kernels through model/ops/")
  elseif(quote STREQUAL "<")
    if(header MATCHES "^(torch|ATen|c10|caffe2)/" AND NOT folder IN_LIST torch_folders)
      report(${file} ${line} ${header} "LibTorch starts at model")
    endif()
    set(rules ${libraries})
    while(rules)
      list(POP_FRONT rules pattern users)
      if(header MATCHES ${pattern} AND NOT file MATCHES ${users})
        report(${file} ${line} ${header} "only files matching ${users} may")
      endif()
    endwhile()
  endif()
endforeach()

# A weak symbol in a vector object can become the copy that the linker keeps for everyone.
set(objects 0)
if(LIBRARY)
  execute_process(COMMAND ${NM} --print-file-name ${LIBRARY} OUTPUT_VARIABLE symbols ERROR_QUIET
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE "[][;]" "_" symbols "${symbols}")
  string(REPLACE "\n" ";" symbols "${symbols}")
  string(REPLACE "," ";" variants "${VARIANTS}")
  foreach(variant IN LISTS variants)
    get_filename_component(name ${variant} NAME)
    set(of_variant ${symbols})
    list(FILTER of_variant INCLUDE REGEX "[:/]${name}\\.o:")
    if(NOT of_variant)
      string(APPEND broken "\n${LIBRARY}: holds no object of src/kernels/${variant}")
    endif()
    list(FILTER of_variant INCLUDE REGEX ":[0-9a-f ]+ [WVwvu] ")
    foreach(symbol IN LISTS of_variant)
      string(REGEX REPLACE ".* [WVwvu] " "" symbol ${symbol})
      string(APPEND broken "\nsrc/kernels/${variant}: weak symbol ${symbol} in its object; make it always-inline or internal")
    endforeach()
    math(EXPR objects "${objects} + 1")
  endforeach()
endif()

if(broken)
  message(FATAL_ERROR "the layering is broken:${broken}")
endif()
message(STATUS "${count} includes and ${objects} vector objects follow the layering")
