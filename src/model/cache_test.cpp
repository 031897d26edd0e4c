#include "model/cache.h"

#include <gtest/gtest.h>

namespace mote::model {
namespace {

void append(Cache& cache, std::int64_t count) {
  const Tensor rows = torch::full({1, count, 4}, static_cast<double>(cache.position()));
  const Cache::Seen seen = cache.append(0, rows, rows);
  cache.advance(count);
  EXPECT_EQ(seen.first + seen.count, cache.position());
  EXPECT_EQ(seen.k_BCI[0][seen.count - 1][0].item<float>(),
            static_cast<float>(cache.position() - count));
}

TEST(Cache, MakesRoomForNoMoreThanIsExpected) {
  Cache cache({{0, 0}});
  cache.expect(100);
  append(cache, 60);
  EXPECT_EQ(cache.layer(0).k_BCI.size(1), 100);
  const void* const held = cache.layer(0).k_BCI.const_data_ptr();
  for (int i = 0; i < 40; ++i) append(cache, 1);
  EXPECT_EQ(cache.layer(0).k_BCI.const_data_ptr(), held) << "moved";
  append(cache, 1);  // more came
  EXPECT_EQ(cache.layer(0).k_BCI.size(1), 202);
  EXPECT_EQ(cache.layer(0).v_BCI[0][59][0].item<float>(), 0.0f);
  EXPECT_EQ(cache.layer(0).v_BCI[0][99][0].item<float>(), 99.0f);
}

TEST(Cache, OfAFewPositionsTakesNoRoomForAllThatAreExpected) {
  Cache all({{0, 0}}), window({{1, 7}});
  for (Cache* cache : {&all, &window}) {
    cache->expect(std::int64_t{1} << 40);
    append(*cache, 8);
  }
  EXPECT_EQ(all.layer(0).k_BCI.size(1), 8 + 1024);
  EXPECT_EQ(window.layer(0).k_BCI.size(1), 16);
}

}  // namespace
}  // namespace mote::model
