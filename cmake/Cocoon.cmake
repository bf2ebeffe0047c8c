# SPDX-License-Identifier: Apache-2.0
# One interface target carries every flag; a module, a program, a unit test and a fuzz target are one line each.
include(CheckCCompilerFlag)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

add_library(flags INTERFACE)
target_include_directories(flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_definitions(flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64 COCOON_VERSION="${PROJECT_VERSION}")
target_compile_options(flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wvla -Wundef
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual
  -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum -fno-common -fvisibility=hidden
  $<$<C_COMPILER_ID:GNU>:-Wlogical-op -Wduplicated-cond -Wduplicated-branches>
  $<$<BOOL:${DEVELOP}>:-Werror>)
target_link_libraries(flags INTERFACE Threads::Threads)

if(STATIC)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  # Of two archives from pkg-config CMake does not know which one needs the other; this comes last of all.
  set(CMAKE_C_STANDARD_LIBRARIES -lcrypto)
  # The same bytes wherever the source tree is.
  target_compile_options(flags INTERFACE -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)
endif()
if(SANITIZE)
  target_compile_options(flags INTERFACE -fsanitize=${SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(flags INTERFACE -fsanitize=${SANITIZE})
elseif(NOT FUZZ)
  # Hardening and sanitizers exclude each other; gcc 12 and clang 14 both know these.
  target_compile_options(flags INTERFACE -fstack-protector-strong -fstack-clash-protection -fPIE
    $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
  target_link_options(flags INTERFACE $<IF:$<BOOL:${STATIC}>,-static-pie,-pie> -Wl,-z,relro,-z,now,-z,noexecstack)
  check_c_compiler_flag(-fcf-protection=full HAVE_CF_PROTECTION)
  if(HAVE_CF_PROTECTION)
    target_compile_options(flags INTERFACE -fcf-protection=full)
  endif()
endif()
if(SANITIZE MATCHES "thread")
  # Criterion's processes do not start under ThreadSanitizer; a header of ours runs the same tests one by one.
  target_include_directories(flags BEFORE INTERFACE ${PROJECT_SOURCE_DIR}/test/unit/plain)
  add_library(criterion INTERFACE)
endif()
if(FUZZ)
  target_compile_options(flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer)
  target_link_options(flags INTERFACE -fsanitize=address,undefined)
endif()

# module(NAME SOURCES a.c … USES other-module PkgConfig::X …)
function(module NAME)
  cmake_parse_arguments(M "" "" "SOURCES;USES" ${ARGN})
  add_library(${NAME} STATIC ${M_SOURCES})
  target_link_libraries(${NAME} PRIVATE flags PUBLIC ${M_USES})
endfunction()

# program(NAME SOURCES main.c … USES modules…): installed into bindir
function(program NAME)
  cmake_parse_arguments(M "" "" "SOURCES;USES" ${ARGN})
  add_executable(${NAME} ${M_SOURCES})
  target_link_libraries(${NAME} PRIVATE flags ${M_USES})
  install(TARGETS ${NAME} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# unit_test(MODULE FOLDER NAME): test/unit/FOLDER/NAME.c, criterion, ctest name unit/FOLDER/NAME
function(unit_test MODULE FOLDER NAME)
  if(DEVELOP AND NOT FUZZ)
    add_executable(test-${FOLDER}-${NAME} ${PROJECT_SOURCE_DIR}/test/unit/${FOLDER}/${NAME}.c)
    target_link_libraries(test-${FOLDER}-${NAME} PRIVATE flags ${MODULE} criterion)
    add_test(NAME unit/${FOLDER}/${NAME} COMMAND test-${FOLDER}-${NAME})
    set_tests_properties(unit/${FOLDER}/${NAME} PROPERTIES SKIP_RETURN_CODE 77
      ENVIRONMENT "COCOON_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
  endif()
endfunction()

# fuzz_target(MODULE NAME): test/fuzz/NAME.c. With -DFUZZ=ON a libFuzzer program fuzz-NAME; in a DEVELOP build
# a program replay-NAME that runs every file of test/fuzz/corpus/NAME through the same function.
function(fuzz_target MODULE NAME)
  if(FUZZ)
    add_executable(fuzz-${NAME} ${PROJECT_SOURCE_DIR}/test/fuzz/${NAME}.c)
    target_link_libraries(fuzz-${NAME} PRIVATE flags ${MODULE})
    target_link_options(fuzz-${NAME} PRIVATE -fsanitize=fuzzer)
  elseif(DEVELOP)
    add_executable(replay-${NAME} ${PROJECT_SOURCE_DIR}/test/fuzz/${NAME}.c ${PROJECT_SOURCE_DIR}/test/fuzz/replay.c)
    target_link_libraries(replay-${NAME} PRIVATE flags ${MODULE})
    add_test(NAME fuzz/${NAME} COMMAND replay-${NAME} ${PROJECT_SOURCE_DIR}/test/fuzz/corpus/${NAME})
  endif()
endfunction()
