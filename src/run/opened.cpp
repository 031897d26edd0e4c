#include "run/opened.h"

#include "base/log.h"
#include "base/process.h"
#include "model/packed_weight.h"

namespace mote::run {

Opened open_model(const std::filesystem::path& path, const model::Pass& pass) {
  Opened opened;
  opened.model = model::load_model(path, *pass.run.executor);
  if (pass.int8_activations) model::check_int8_activations(*opened.model);
  for (const std::string& warning : checkpoint::causality_warnings(opened.model->config()))
    log::warn(warning);
  opened.tokenizer = model::load_tokenizer(path, opened.model->config());
  opened.bounds = model::load_text_bounds(path, *opened.tokenizer);
  return_freed_memory();  // of what vocabularies were read into
  return opened;
}

}  // namespace mote::run
