// How the next token is drawn: the options of the verbs that make text.
#pragma once

#include "cli/command.h"
#include "run/generator.h"

namespace mote::cli {

class SamplingOptions {
 public:
  void add(CLI::App& app);
  // Once options are read, and the model's number of tokens is known.
  void finish(const Context& context, int vocabulary);

  run::GenerateOptions options;

 private:
  // Peers' command lines give them all, so that they are no misuse.
  static void warn_of(const std::vector<const CLI::Option*>& options, const char* why);

  std::vector<std::string> biases_;
  std::vector<const CLI::Option*> of_draws_;  // what only drawing tokens uses
  std::vector<const CLI::Option*> of_beams_;  // what beam search makes no use of
  const CLI::Option* length_penalty_ = nullptr;
};

// Throws, naming the place and, if it is in one, the file.
void check_utf8(const std::string& text, ErrorKind kind, const std::string& place,
                const std::string& file);

}  // namespace mote::cli
