// Runs a CUDA kernel on the CPU, one std::thread per CUDA thread, blocks one after another. For tiny sizes in tests.
#include <algorithm>
#include <barrier>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __restrict__
#define __shared__ static  // blocks run one after another, so a block's shared memory may be static
#define __launch_bounds__(n)
struct Index { int x, y, z; };
static Index blockIdx;
static thread_local Index threadIdx;
static std::unique_ptr<std::barrier<>> block_barrier;
static inline void __syncthreads() { block_barrier->arrive_and_wait(); }
static inline float __uint_as_float(unsigned int bits) { float x; std::memcpy(&x, &bits, 4); return x; }
using std::min;

static void launch(Index grid, Index block, const std::function<void()>& kernel) {
    for (int z = 0; z < grid.z; z++)
        for (int y = 0; y < grid.y; y++)
            for (int x = 0; x < grid.x; x++) {
                blockIdx = {x, y, z};
                block_barrier = std::make_unique<std::barrier<>>(block.x * block.y * block.z);
                std::vector<std::thread> threads;
                for (int tz = 0; tz < block.z; tz++)
                    for (int ty = 0; ty < block.y; ty++)
                        for (int tx = 0; tx < block.x; tx++)
                            threads.emplace_back([=] {
                                threadIdx = {tx, ty, tz};
                                kernel();
                                block_barrier->arrive_and_drop();  // a thread that returned early is not waited for
                            });
                for (auto& thread : threads) thread.join();
            }
}
