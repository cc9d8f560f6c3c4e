/* A libnvidia-ml.so.1 for machines without a GPU: pynvml works against it unchanged.
 *
 * Names and layouts follow NVIDIA's public API reference (https://docs.nvidia.com/deploy/nvml-api/).
 * What it answers stands in the text file that FAKE_NVML names. The file is read again at each call,
 * so replacing it (os.replace) changes the "hardware" under a running program. A missing file is a
 * driver that is not loaded. One item a line; sizes in MiB; '_' in a name becomes a space:
 *
 *   gpu uuid=GPU-a name=NVIDIA_A100 total=81920 used=1000 util=35 mode=2 mig=1
 *   mig uuid=MIG-a total=20480                  a part of the gpu line above it
 *   process pid=123 used=500                    on the gpu or mig line above it
 *   fail nvmlDeviceGetMemoryInfo 15             for the line above it; before the first gpu, for all
 *
 * total=none is a GPU without memory of its own; without mig= MIG is not supported. The numbers of
 * errors and modes are NVML's. `fail` also fits functions of which it names the beginning (_v2).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, VERSION_MISMATCH = 25 };
enum { DEVICES = 64, PROCESSES = 16, FAILURES = 8, MIG_SLOTS = 7 };
#define MIB 1048576ULL
#define NO_MEMORY (~0ULL)

typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { char function[64]; int code; } Failure;
typedef struct Device {
    char uuid[80], name[80];
    unsigned long long total, used;
    unsigned utilization, mode, process_count, failure_count;
    int mig_mode;              /* -1 where MIG is not supported */
    int index;                 /* among the GPUs, or among the MIG devices of its parent */
    struct Device *parent;
    Process processes[PROCESSES];
    Failure failures[FAILURES];
} Device;

static Device library;         /* holds the failures that befall all */
static Device devices[DEVICES];
static int device_count, open_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static Device *add_device(Device *parent) {
    if (device_count == DEVICES) abort();
    Device *new = &devices[device_count];
    *new = (Device){.name = "NVIDIA Fake", .total = 16384 * MIB, .mig_mode = -1, .parent = parent};
    for (int i = 0; i < device_count; i++) new->index += devices[i].parent == parent;
    device_count++;
    return new;
}

static void set(Device *device, const char *key, const char *value) {
    unsigned long long number = strtoull(value, NULL, 10);
    if (!strcmp(key, "uuid")) snprintf(device->uuid, sizeof device->uuid, "%s", value);
    else if (!strcmp(key, "name")) {
        snprintf(device->name, sizeof device->name, "%s", value);
        for (char *c = device->name; *c; c++) if (*c == '_') *c = ' ';
    }
    else if (!strcmp(key, "total")) device->total = strcmp(value, "none") ? number * MIB : NO_MEMORY;
    else if (!strcmp(key, "used")) device->used = number * MIB;
    else if (!strcmp(key, "util")) device->utilization = number;
    else if (!strcmp(key, "mode")) device->mode = number;
    else if (!strcmp(key, "mig")) device->mig_mode = number;
    else abort();
}

static void add_process(Device *device, const char *line) {
    Process process = {.gpu_instance = ~0u, .compute_instance = ~0u};
    if (sscanf(line, "process pid=%u used=%llu", &process.pid, &process.used) != 2) abort();
    process.used *= MIB;
    if (device->process_count < PROCESSES) device->processes[device->process_count++] = process;
}

static void add_failure(Device *device, const char *line) {
    Failure failure;
    if (sscanf(line, "fail %63s %d", failure.function, &failure.code) != 2) abort();
    if (device->failure_count < FAILURES) device->failures[device->failure_count++] = failure;
}

static Device *add_described(Device *parent, char *line) {
    Device *device = add_device(parent);
    strtok(line, " \n");
    for (char *key; (key = strtok(NULL, " =\n"));) {
        char *value = strtok(NULL, " \n");
        set(device, key, value ? value : "");
    }
    return device;
}

static int read_description(void) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return DRIVER_NOT_LOADED;
    device_count = library.failure_count = 0;
    Device *latest = &library, *gpu = NULL;
    for (char line[1024]; fgets(line, sizeof line, file);) {
        if (!strncmp(line, "gpu", 3)) latest = gpu = add_described(NULL, line);
        else if (!strncmp(line, "mig", 3)) latest = add_described(gpu, line);
        else if (!strncmp(line, "process", 7)) add_process(latest, line);
        else if (!strncmp(line, "fail", 4)) add_failure(latest, line);
    }
    fclose(file);
    return SUCCESS;
}

static int failure_of(const Device *device, const char *function) {
    for (unsigned i = 0; i < device->failure_count; i++) {
        const Failure *failure = &device->failures[i];
        if (!strncmp(failure->function, function, strlen(failure->function))) return failure->code;
    }
    return SUCCESS;
}

static int begin(const char *function, const Device *device, int opening) {
    pthread_mutex_lock(&lock);
    if (!open_count && !opening) return UNINITIALIZED;
    int code = read_description();
    if (!code) code = failure_of(&library, function);
    if (!code && device) code = device < devices + device_count ? failure_of(device, function) : INVALID_ARGUMENT;
    return code;
}

static int end(int code) { pthread_mutex_unlock(&lock); return code; }

static int find(Device *parent, int index, Device **found) {
    for (int i = 0; i < device_count; i++)
        if (devices[i].parent == parent && devices[i].index == index) { *found = &devices[i]; return SUCCESS; }
    return parent ? NOT_FOUND : INVALID_ARGUMENT;
}

static int copy(char *target, unsigned size, const char *text) {
    return (unsigned)snprintf(target, size, "%s", text) < size ? SUCCESS : INSUFFICIENT_SIZE;
}

/* API(function(arguments), device, what it does): within the lock, unless the call is to fail. */
#define API(signature, device, ...) \
    int signature { int code = begin(__func__, device, 0); if (!code) { __VA_ARGS__; } return end(code); }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = begin(__func__, NULL, 1);
    open_count += !code;
    return end(code);
}
API(nvmlShutdown(void), NULL, open_count--)
const char *nvmlErrorString(int code) { (void)code; return "Unknown Error"; }

API(nvmlDeviceGetCount_v2(unsigned *count), NULL,
    *count = 0; for (int i = 0; i < device_count; i++) *count += !devices[i].parent)
API(nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **handle), NULL,
    code = find(NULL, index, handle); if (!code) code = failure_of(*handle, __func__))
API(nvmlDeviceGetHandleByUUID(const char *uuid, Device **handle), NULL,
    code = NOT_FOUND;
    for (int i = 0; i < device_count; i++)
        if (!strcmp(devices[i].uuid, uuid)) { *handle = &devices[i]; code = failure_of(*handle, __func__); })
API(nvmlDeviceGetIndex(Device *d, unsigned *index), d, *index = d->index)
API(nvmlDeviceGetUUID(Device *d, char *text, unsigned size), d, code = copy(text, size, d->uuid))
API(nvmlDeviceGetName(Device *d, char *text, unsigned size), d, code = copy(text, size, d->name))
API(nvmlDeviceGetComputeMode(Device *d, unsigned *mode), d, *mode = d->mode)

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;
API(nvmlDeviceGetMemoryInfo(Device *d, Memory *memory), d,
    if (d->total == NO_MEMORY) code = NOT_SUPPORTED;
    else *memory = (Memory){d->total, d->total - d->used, d->used})
API(nvmlDeviceGetMemoryInfo_v2(Device *d, Memory2 *memory), d,
    if (memory->version != (sizeof *memory | 2 << 24)) code = VERSION_MISMATCH;
    else if (d->total == NO_MEMORY) code = NOT_SUPPORTED;
    else *memory = (Memory2){memory->version, d->total, 0, d->total - d->used, d->used})

typedef struct { unsigned gpu, memory; } Utilization;
API(nvmlDeviceGetUtilizationRates(Device *d, Utilization *rates), d,
    if (d->parent || d->mig_mode == 1) code = NOT_SUPPORTED;
    else *rates = (Utilization){d->utilization, 0})

API(nvmlDeviceGetMigMode(Device *d, unsigned *current, unsigned *pending), d,
    if (d->mig_mode < 0) code = NOT_SUPPORTED; else *current = *pending = d->mig_mode)
API(nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *count), d, *count = d->mig_mode < 0 ? 0 : MIG_SLOTS)
API(nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, Device **handle), d,
    code = find(d, index, handle); if (!code) code = failure_of(*handle, __func__))
API(nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *d, Device **handle), d,
    if (d->parent) *handle = d->parent; else code = INVALID_ARGUMENT)

API(nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *count, Process *processes), d,
    unsigned room = *count; *count = d->process_count;
    if (d->process_count > room) code = INSUFFICIENT_SIZE;
    else if (processes) memcpy(processes, d->processes, d->process_count * sizeof *processes))
API(nvmlDeviceGetGraphicsRunningProcesses_v3(Device *d, unsigned *count, Process *processes), d,
    (void)processes; *count = 0)
