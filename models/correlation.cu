// Cost volume and its gradients on a GPU; compiled at first use by models/correlation.py, which sets
//   RADIUS   largest displacement r in x and y; SIDE = 2r+1 shifts per axis, displacement index d = (dy+r)*SIDE + (dx+r)
//   VALUE    storage type: 0 float32, 1 float16, 2 bfloat16; all sums run in float32
//
// forward   volume[b,d,y,x]  = 1/C sum_c first[b,c,y,x] * second[b,c,y+dy,x+dx]
// backward  gradient[b,c,y,x] = 1/C sum_d volume_gradient'[b,d,y,x] * other[b,c,y+dy,x+dx]
//   for first: other = second and volume_gradient' = volume_gradient;
//   for second: other = first and volume_gradient'[b,d,y,x] = volume_gradient[b,-d,y+dy,x+dx], which turns one sum into the other.
// Everything is zero outside the image. Tensors are contiguous [B,channels,H,W].
//
// Both kernels give each thread four neighbouring pixels of a row: per shift row dy it reads 4+2r values of a line once
// from shared memory and uses them in 4*SIDE products.

#define SIDE (2 * RADIUS + 1)
#define SHIFTS (SIDE * SIDE)
#define QUAD 4                         // pixels of a row per thread
#define TILE_X 32                      // pixels of a row per block
#define GROUPS (TILE_X / QUAD)
#define HALO_X (TILE_X + 2 * RADIUS)
#define CHUNK 8                        // channels in shared memory at a time
#define FORWARD_Y 4                    // rows per block, forward
#define BACKWARD_Y 2                   // rows per block, backward

#if VALUE == 0
typedef float value;
__device__ __forceinline__ float load(const value* p) { return *p; }
__device__ __forceinline__ void store(value* p, float x) { *p = x; }
#elif VALUE == 1
typedef unsigned short value;
__device__ __forceinline__ float load(const value* p) { float x; asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(*p)); return x; }
__device__ __forceinline__ void store(value* p, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(*p) : "f"(x)); }
#else
typedef unsigned short value;
__device__ __forceinline__ float load(const value* p) { return __uint_as_float(((unsigned int)*p) << 16); }
__device__ __forceinline__ void store(value* p, float x) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(*p) : "f"(x)); }
#endif

// Pixel (y, x) of one channel plane, zero outside.
__device__ __forceinline__ float pixel(const value* plane, int y, int x, int height, int width) {
    return (y >= 0 && y < height && x >= 0 && x < width) ? load(plane + (long long)y * width + x) : 0.0f;
}

// Block: GROUPS x FORWARD_Y x SIDE threads, one per (four pixels, row, dy). Grid: tiles in x, tiles in y, B.
extern "C" __global__ void __launch_bounds__(GROUPS * FORWARD_Y * SIDE)
correlation_forward(const value* __restrict__ first, const value* __restrict__ second, value* __restrict__ volume,
                    int channels, int height, int width) {
    __shared__ float lines[CHUNK][FORWARD_Y + 2 * RADIUS][HALO_X];  // of second
    __shared__ float centre[CHUNK][FORWARD_Y][TILE_X];              // of first
    const int x0 = blockIdx.x * TILE_X, y0 = blockIdx.y * FORWARD_Y;
    const int x = threadIdx.x * QUAD, y = threadIdx.y, dy = threadIdx.z;
    const int thread = (threadIdx.z * FORWARD_Y + threadIdx.y) * GROUPS + threadIdx.x;
    const int threads = GROUPS * FORWARD_Y * SIDE;
    const long long plane = (long long)height * width;
    first += blockIdx.z * channels * plane;
    second += blockIdx.z * channels * plane;

    float sum[SIDE][QUAD];
    #pragma unroll
    for (int dx = 0; dx < SIDE; dx++)
        #pragma unroll
        for (int i = 0; i < QUAD; i++) sum[dx][i] = 0.0f;

    for (int c0 = 0; c0 < channels; c0 += CHUNK) {
        const int count = min(CHUNK, channels - c0);
        for (int i = thread; i < count * (FORWARD_Y + 2 * RADIUS) * HALO_X; i += threads) {
            const int column = i % HALO_X, row = i / HALO_X % (FORWARD_Y + 2 * RADIUS), c = i / (HALO_X * (FORWARD_Y + 2 * RADIUS));
            lines[c][row][column] = pixel(second + (c0 + c) * plane, y0 + row - RADIUS, x0 + column - RADIUS, height, width);
        }
        for (int i = thread; i < count * FORWARD_Y * TILE_X; i += threads) {
            const int column = i % TILE_X, row = i / TILE_X % FORWARD_Y, c = i / (TILE_X * FORWARD_Y);
            centre[c][row][column] = pixel(first + (c0 + c) * plane, y0 + row, x0 + column, height, width);
        }
        __syncthreads();
        for (int c = 0; c < count; c++) {
            float line[QUAD + 2 * RADIUS], own[QUAD];
            #pragma unroll
            for (int i = 0; i < QUAD + 2 * RADIUS; i++) line[i] = lines[c][y + dy][x + i];
            #pragma unroll
            for (int i = 0; i < QUAD; i++) own[i] = centre[c][y][x + i];
            #pragma unroll
            for (int dx = 0; dx < SIDE; dx++)
                #pragma unroll
                for (int i = 0; i < QUAD; i++) sum[dx][i] += own[i] * line[dx + i];
        }
        __syncthreads();
    }
    if (y0 + y >= height) return;
    value* out = volume + ((long long)blockIdx.z * SHIFTS + dy * SIDE) * plane + (long long)(y0 + y) * width + x0 + x;
    for (int dx = 0; dx < SIDE; dx++)
        for (int i = 0; i < QUAD && x0 + x + i < width; i++) store(out + dx * plane + i, sum[dx][i] / channels);
}

// Gradient of first (mirrored = 0) or of second (mirrored = 1); `other` is the other map.
// Block: GROUPS x BACKWARD_Y x CHUNK threads, one per (four pixels, row, channel of the chunk). Grid: tiles in x, tiles in y, B.
extern "C" __global__ void __launch_bounds__(GROUPS * BACKWARD_Y * CHUNK)
correlation_backward(const value* __restrict__ volume_gradient, const value* __restrict__ other, value* __restrict__ gradient,
                     int channels, int height, int width, int mirrored) {
    __shared__ float weights[SHIFTS][BACKWARD_Y][TILE_X];
    __shared__ float lines[CHUNK][BACKWARD_Y + 2 * RADIUS][HALO_X];  // of other
    const int x0 = blockIdx.x * TILE_X, y0 = blockIdx.y * BACKWARD_Y;
    const int x = threadIdx.x * QUAD, y = threadIdx.y, channel = threadIdx.z;
    const int thread = (threadIdx.z * BACKWARD_Y + threadIdx.y) * GROUPS + threadIdx.x;
    const int threads = GROUPS * BACKWARD_Y * CHUNK;
    const long long plane = (long long)height * width;
    volume_gradient += blockIdx.z * SHIFTS * plane;
    other += blockIdx.z * channels * plane;
    gradient += blockIdx.z * channels * plane;

    for (int i = thread; i < SHIFTS * BACKWARD_Y * TILE_X; i += threads) {
        const int column = i % TILE_X, row = i / TILE_X % BACKWARD_Y, d = i / (TILE_X * BACKWARD_Y);
        const int dy = mirrored ? d / SIDE - RADIUS : 0, dx = mirrored ? d % SIDE - RADIUS : 0;
        const value* from = volume_gradient + (mirrored ? SHIFTS - 1 - d : d) * plane;
        weights[d][row][column] = pixel(from, y0 + row + dy, x0 + column + dx, height, width);
    }
    for (int c0 = 0; c0 < channels; c0 += CHUNK) {
        const int count = min(CHUNK, channels - c0);
        __syncthreads();
        for (int i = thread; i < count * (BACKWARD_Y + 2 * RADIUS) * HALO_X; i += threads) {
            const int column = i % HALO_X, row = i / HALO_X % (BACKWARD_Y + 2 * RADIUS), c = i / (HALO_X * (BACKWARD_Y + 2 * RADIUS));
            lines[c][row][column] = pixel(other + (c0 + c) * plane, y0 + row - RADIUS, x0 + column - RADIUS, height, width);
        }
        __syncthreads();
        if (channel >= count || y0 + y >= height) continue;
        float sum[QUAD] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int dy = 0; dy < SIDE; dy++) {
            float line[QUAD + 2 * RADIUS];
            #pragma unroll
            for (int i = 0; i < QUAD + 2 * RADIUS; i++) line[i] = lines[channel][y + dy][x + i];
            #pragma unroll
            for (int dx = 0; dx < SIDE; dx++)
                #pragma unroll
                for (int i = 0; i < QUAD; i++) sum[i] += weights[dy * SIDE + dx][y][x + i] * line[dx + i];
        }
        value* out = gradient + (c0 + channel) * plane + (long long)(y0 + y) * width + x0 + x;
        for (int i = 0; i < QUAD && x0 + x + i < width; i++) store(out + i, sum[i] / channels);
    }
}
