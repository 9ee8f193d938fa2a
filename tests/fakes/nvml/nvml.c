/*
 * A libnvidia-ml.so.1 without a GPU: it answers the calls that mgpu makes from the text file that FAKE_NVML_CONF names,
 * and reads it again whenever it has changed. One fact a line, those of a GPU under its line `gpu INDEX`:
 *
 *   driver 550.90.07      init 9               the error of nvmlInit, 9 being DRIVER_NOT_LOADED
 *   cuda 12040
 *   gpu 0
 *   name NVIDIA H100 80GB HBM3                 uuid GPU-...          bus 00000000:1B:00.0
 *   total BYTES   reserved BYTES   used BYTES  memory_version 1      only the older call answers
 *   handle 15     calls 15                     the error of getting the handle, or of every call, 15 being GPU_IS_LOST
 *   process PID BYTES   graphics PID BYTES     link LANE PEER        -1: a switch, -2: a switch that a guest cannot see
 *   ancestor PEER LEVEL                        p2p PEER STATUS
 *   remapped CORRECTABLE UNCORRECTABLE PENDING FAILED               hang SECONDS   that each call takes
 *
 * and the numbers of `numbers` below; -1 is NOT_SUPPORTED. The structures are those of nvml.h 12.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUCCESS, UNINITIALIZED, INVALID, NOT_SUPPORTED, NOT_FOUND = 6, TOO_SMALL, DRIVER_NOT_LOADED = 9, MISMATCH = 25 };
enum { GPUS = 64, LANES = 36, PROCESSES = 64, NO_LINK = -3, HIDDEN = -2, SWITCH = -1, MEMORY_V2 = 0x02000028 };

typedef unsigned int u32;
typedef unsigned long long u64;

typedef struct { u32 pid; u64 memory; u32 gpu_instance, compute_instance; } Process;
typedef struct { int count; Process process[PROCESSES]; } Processes;
typedef struct { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { u64 total, free, used; } Memory;
typedef struct { u32 version; u64 total, reserved, free, used; } MemoryV2;
typedef struct { u32 gpu, memory; } Utilization;
typedef struct { u32 version, sensor; int temperature; } Temperature;

typedef struct {
    char name[96], uuid[96], bus[32];
    long long total, reserved, used, memory_version, handle, calls;
    long long cc_major, cc_minor, numa, mig, utilization, temperature, power, pcie_generation, pcie_width, ecc, retired;
    long long pcie_now, pcie_card, pcie_most, pstate, throttled, persistence;
    long long remapped[4];
    int links[LANES], ancestors[GPUS], p2p[GPUS];
    Processes compute, graphics;
} Gpu;

static Gpu gpus[GPUS];
static int count, ready, init_error, cuda, hang;
static char driver[80];
static struct stat seen;

#define NUMBER(field) { #field, offsetof(Gpu, field) }
static const struct { const char *key; size_t offset; } numbers[] = {
    NUMBER(total), NUMBER(reserved), NUMBER(used), NUMBER(memory_version), NUMBER(handle), NUMBER(calls),
    NUMBER(cc_major), NUMBER(cc_minor), NUMBER(numa), NUMBER(mig), NUMBER(utilization), NUMBER(temperature),
    NUMBER(power), NUMBER(pcie_generation), NUMBER(pcie_width), NUMBER(ecc), NUMBER(retired),
    NUMBER(pcie_now), NUMBER(pcie_card), NUMBER(pcie_most), NUMBER(pstate), NUMBER(throttled), NUMBER(persistence),
};

static void start_gpu(Gpu *gpu) {
    memset(gpu, 0, sizeof *gpu);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) *(long long *)((char *)gpu + numbers[i].offset) = -1;
    gpu->handle = gpu->calls = 0;
    gpu->remapped[0] = -1;
    for (int lane = 0; lane < LANES; lane++) gpu->links[lane] = NO_LINK;
    for (int peer = 0; peer < GPUS; peer++) gpu->ancestors[peer] = gpu->p2p[peer] = -1;
}

static void process(Processes *list, const char *value) {
    Process found = { .gpu_instance = -1, .compute_instance = -1 };
    if (sscanf(value, "%u %llu", &found.pid, &found.memory) == 2 && list->count < PROCESSES)
        list->process[list->count++] = found;
}

static void fact(Gpu *gpu, const char *key, const char *value) {
    int at, what;
    if (!strcmp(key, "name")) snprintf(gpu->name, sizeof gpu->name, "%s", value);
    else if (!strcmp(key, "uuid")) snprintf(gpu->uuid, sizeof gpu->uuid, "%s", value);
    else if (!strcmp(key, "bus")) snprintf(gpu->bus, sizeof gpu->bus, "%s", value);
    else if (!strcmp(key, "link") && sscanf(value, "%d %d", &at, &what) == 2) gpu->links[at % LANES] = what;
    else if (!strcmp(key, "ancestor") && sscanf(value, "%d %d", &at, &what) == 2) gpu->ancestors[at % GPUS] = what;
    else if (!strcmp(key, "p2p") && sscanf(value, "%d %d", &at, &what) == 2) gpu->p2p[at % GPUS] = what;
    else if (!strcmp(key, "remapped")) {
        long long *rows = gpu->remapped;
        sscanf(value, "%lld %lld %lld %lld", rows, rows + 1, rows + 2, rows + 3);
    } else if (!strcmp(key, "process")) process(&gpu->compute, value);
    else if (!strcmp(key, "graphics")) process(&gpu->graphics, value);
    else for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(key, numbers[i].key)) *(long long *)((char *)gpu + numbers[i].offset) = atoll(value);
}

static void line(char *text) {
    text[strcspn(text, "\n")] = 0;
    char *value = strchr(text, ' ');
    if (!value || *text == '#') return;
    *value++ = 0;
    if (!strcmp(text, "driver")) snprintf(driver, sizeof driver, "%s", value);
    else if (!strcmp(text, "cuda")) cuda = atoi(value);
    else if (!strcmp(text, "init")) init_error = atoi(value);
    else if (!strcmp(text, "hang")) hang = atoi(value);
    else if (!strcmp(text, "gpu") && count < GPUS) start_gpu(&gpus[count++]);
    else if (count) fact(&gpus[count - 1], text, value);
}

static void reload(void) {
    const char *path = getenv("FAKE_NVML_CONF");
    struct stat now;
    char text[512];
    FILE *file;
    if (!path || stat(path, &now) || !(file = fopen(path, "r"))) {
        init_error = DRIVER_NOT_LOADED;
        count = 0;
        return;
    }
    if (now.st_ino != seen.st_ino || memcmp(&now.st_mtim, &seen.st_mtim, sizeof now.st_mtim)) {
        count = init_error = hang = 0;
        while (fgets(text, sizeof text, file)) line(text);
        seen = now;
    }
    fclose(file);
    if (hang) sleep(hang);
}

static int check(const Gpu *gpu) {
    if (!ready) return UNINITIALIZED;
    reload();
    if (gpu < gpus || gpu >= gpus + count) return INVALID;
    return gpu->calls;
}

#define CHECK(gpu) do { int error_ = check(gpu); if (error_) return error_; } while (0)
#define SUPPORTED(value) do { if ((value) < 0) return NOT_SUPPORTED; } while (0)

static int text_out(char *out, u32 size, const char *text) {
    if (!*text) return NOT_SUPPORTED;
    if (strlen(text) >= size) return TOO_SMALL;
    strcpy(out, text);
    return SUCCESS;
}

static int pci_out(const char *bus, Pci *out) {
    memset(out, 0, sizeof *out);
    sscanf(bus, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->legacy, sizeof out->legacy, "%04X:%02X:%02X.0", out->domain & 0xffff, out->bus & 0xff, out->device & 0xff);
    return text_out(out->bus_id, sizeof out->bus_id, bus);
}

int nvmlInitWithFlags(u32 flags) { (void)flags; reload(); if (init_error) return init_error; ready++; return SUCCESS; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { if (!ready) return UNINITIALIZED; ready--; return SUCCESS; }
const char *nvmlErrorString(int error) { return error ? "stub error" : "success"; }
int nvmlSystemGetDriverVersion(char *out, u32 size) { reload(); return text_out(out, size, driver); }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { reload(); *out = cuda; return SUCCESS; }
int nvmlDeviceGetCount_v2(u32 *out) { if (!ready) return UNINITIALIZED; reload(); *out = count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(u32 index, Gpu **out) {
    if (!ready) return UNINITIALIZED;
    reload();
    if (index >= (u32)count) return INVALID;
    *out = &gpus[index];
    return gpus[index].handle;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **out) {
    if (!ready) return UNINITIALIZED;
    reload();
    for (int at = 0; at < count; at++)
        if (!strcmp(gpus[at].uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2(at, out);
    return NOT_FOUND;
}

#define TEXT(function, field) int function(Gpu *gpu, char *out, u32 size) { CHECK(gpu); return text_out(out, size, gpu->field); }
#define NUMBER_OUT(function, field) int function(Gpu *gpu, u32 *out) { CHECK(gpu); SUPPORTED(gpu->field); *out = gpu->field; return SUCCESS; }

TEXT(nvmlDeviceGetName, name)
TEXT(nvmlDeviceGetUUID, uuid)
NUMBER_OUT(nvmlDeviceGetPowerUsage, power)
NUMBER_OUT(nvmlDeviceGetMaxPcieLinkGeneration, pcie_generation)
NUMBER_OUT(nvmlDeviceGetCurrPcieLinkWidth, pcie_width)
NUMBER_OUT(nvmlDeviceGetRetiredPagesPendingStatus, retired)
NUMBER_OUT(nvmlDeviceGetCurrPcieLinkGeneration, pcie_now)
NUMBER_OUT(nvmlDeviceGetGpuMaxPcieLinkGeneration, pcie_card)
NUMBER_OUT(nvmlDeviceGetMaxPcieLinkWidth, pcie_most)
NUMBER_OUT(nvmlDeviceGetPerformanceState, pstate)
NUMBER_OUT(nvmlDeviceGetPersistenceMode, persistence)

int nvmlDeviceGetCurrentClocksEventReasons(Gpu *gpu, u64 *out) {
    CHECK(gpu);
    SUPPORTED(gpu->throttled);
    *out = gpu->throttled;
    return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(Gpu *gpu, Pci *out) { CHECK(gpu); return pci_out(gpu->bus, out); }

int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *out) {
    CHECK(gpu);
    SUPPORTED(gpu->total);
    out->total = gpu->total;
    out->used = gpu->used + gpu->reserved;
    out->free = out->total - out->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(Gpu *gpu, MemoryV2 *out) {
    CHECK(gpu);
    SUPPORTED(gpu->total);
    if (gpu->memory_version == 1) return NOT_SUPPORTED;
    if (out->version != MEMORY_V2) return MISMATCH;
    out->total = gpu->total;
    out->reserved = gpu->reserved;
    out->used = gpu->used;
    out->free = out->total - out->reserved - out->used;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(Gpu *gpu, u32 sensor, u32 *out) {
    (void)sensor;
    CHECK(gpu);
    SUPPORTED(gpu->temperature);
    *out = gpu->temperature;
    return SUCCESS;
}

int nvmlDeviceGetTemperatureV(Gpu *gpu, Temperature *out) {
    CHECK(gpu);
    SUPPORTED(gpu->temperature);
    out->temperature = gpu->temperature;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(Gpu *gpu, Utilization *out) {
    CHECK(gpu);
    SUPPORTED(gpu->utilization);
    out->gpu = gpu->utilization;
    out->memory = 0;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(Gpu *gpu, u32 *current, u32 *pending) {
    CHECK(gpu);
    SUPPORTED(gpu->mig);
    *current = *pending = gpu->mig;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Gpu *gpu, int *major, int *minor) {
    CHECK(gpu);
    SUPPORTED(gpu->cc_major);
    *major = gpu->cc_major;
    *minor = gpu->cc_minor;
    return SUCCESS;
}

int nvmlDeviceGetMemoryAffinity(Gpu *gpu, u32 size, unsigned long *out, u32 scope) {
    (void)scope;
    CHECK(gpu);
    SUPPORTED(gpu->numa);
    memset(out, 0, size * sizeof *out);
    *out = 1UL << gpu->numa;
    return SUCCESS;
}

int nvmlDeviceGetRemappedRows(Gpu *gpu, u32 *correctable, u32 *uncorrectable, u32 *pending, u32 *failed) {
    CHECK(gpu);
    SUPPORTED(gpu->remapped[0]);
    *correctable = gpu->remapped[0];
    *uncorrectable = gpu->remapped[1];
    *pending = gpu->remapped[2];
    *failed = gpu->remapped[3];
    return SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(Gpu *gpu, u32 kind, u32 counter, u64 *out) {
    (void)kind;
    (void)counter;
    CHECK(gpu);
    SUPPORTED(gpu->ecc);
    *out = gpu->ecc;
    return SUCCESS;
}

static int processes_out(const Processes *list, u32 *size, Process *out) {
    u32 room = *size;
    *size = list->count;
    if (!list->count) return SUCCESS;
    if (room < (u32)list->count || !out) return TOO_SMALL;
    memcpy(out, list->process, list->count * sizeof *out);
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, u32 *size, Process *out) {
    CHECK(gpu);
    return processes_out(&gpu->compute, size, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Gpu *gpu, u32 *size, Process *out) {
    CHECK(gpu);
    return processes_out(&gpu->graphics, size, out);
}

int nvmlDeviceGetTopologyCommonAncestor(Gpu *gpu, Gpu *peer, u32 *out) {
    CHECK(gpu);
    CHECK(peer);
    SUPPORTED(gpu->ancestors[peer - gpus]);
    *out = gpu->ancestors[peer - gpus];
    return SUCCESS;
}

int nvmlDeviceGetP2PStatus(Gpu *gpu, Gpu *peer, u32 capability, u32 *out) {
    CHECK(gpu);
    CHECK(peer);
    if (capability > 4) return INVALID;
    SUPPORTED(gpu->p2p[peer - gpus]);
    *out = gpu->p2p[peer - gpus];
    return SUCCESS;
}

static int has_links(const Gpu *gpu) {
    for (int lane = 0; lane < LANES; lane++) if (gpu->links[lane] != NO_LINK) return 1;
    return 0;
}

int nvmlDeviceGetNvLinkState(Gpu *gpu, u32 lane, u32 *out) {
    CHECK(gpu);
    if (!has_links(gpu)) return NOT_SUPPORTED;
    if (lane >= LANES) return INVALID;
    *out = gpu->links[lane] != NO_LINK;
    return SUCCESS;
}

int nvmlDeviceGetNvLinkRemoteDeviceType(Gpu *gpu, u32 lane, u32 *out) {
    CHECK(gpu);
    if (lane >= LANES || gpu->links[lane] == NO_LINK || gpu->links[lane] == HIDDEN) return NOT_SUPPORTED;
    *out = gpu->links[lane] == SWITCH ? 2 : 0;
    return SUCCESS;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(Gpu *gpu, u32 lane, Pci *out) {
    CHECK(gpu);
    if (lane >= LANES || gpu->links[lane] == NO_LINK || gpu->links[lane] == HIDDEN) return NOT_SUPPORTED;
    int peer = gpu->links[lane];
    return pci_out(peer < 0 ? "00000000:C0:00.0" : peer < count ? gpus[peer].bus : "00000000:EE:00.0", out);
}
