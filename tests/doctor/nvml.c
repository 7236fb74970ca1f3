/* A driver of two GPUs that answers as NVML does: what pynvml asks, by NVML's own signatures. */
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } use_t;
static int index_of(void *device) { return (int)(long)device - 1; }
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned int flags) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned int n) { strncpy(text, "570.86.15", n); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return 0; }
int nvmlDeviceGetCount_v2(unsigned int *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **device) { *device = (void *)(long)(i + 1); return 0; }
int nvmlDeviceGetName(void *d, char *text, unsigned int n) { strncpy(text, "NVIDIA A100-SXM4-40GB", n); return 0; }
int nvmlDeviceGetUUID(void *d, char *text, unsigned int n) {
  strncpy(text, index_of(d) ? "GPU-bbbb-2" : "GPU-aaaa-1", n); return 0; }
int nvmlDeviceGetMemoryInfo(void *d, memory_t *m) {
  m->total = 40ull << 30; m->used = (index_of(d) ? 10ull : 5ull) << 30; m->free = m->total - m->used; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *d, int *major, int *minor) { *major = 8; *minor = 0; return 0; }
int nvmlDeviceGetUtilizationRates(void *d, use_t *u) { u->gpu = 93; u->memory = 40; return 0; }
int nvmlDeviceGetPowerUsage(void *d, unsigned int *milliwatts) { *milliwatts = 250500; return 0; }
int nvmlDeviceGetTemperature(void *d, int sensor, unsigned int *celsius) { return 3; /* not supported */ }
