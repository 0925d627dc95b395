/* Preloaded under a program, records what it has the kernel do to the files of one folder.

   Records go to the file RECORDER_TRACE in the order in which the kernel did the work: one call at
   a time, with a lock held. The folder is RECORDER_FOLDER. Each record is a struct record and the
   bytes that belong to it: the data of a write, or the name of what was opened or removed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct record {
    uint8_t kind;
    uint8_t created;
    uint16_t fd;
    uint32_t length;
    uint64_t offset;
};

enum { LIMIT = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char watched[LIMIT];
static int trace = -1;
static const char *folder;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
    folder = getenv("RECORDER_FOLDER");
    const char *path = getenv("RECORDER_TRACE");
    if (folder && path)
        trace = syscall(SYS_openat, AT_FDCWD, path,
                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int is_inside(const char *path)
{
    size_t length = trace < 0 ? 0 : strlen(folder);
    return length && !strncmp(path, folder, length) && (!path[length] || path[length] == '/');
}

static void put(char kind, int fd, uint64_t offset, int created, const void *data, size_t length)
{
    struct record record = {kind, created, fd, length, offset};
    int before = errno;
    if (syscall(SYS_write, trace, &record, sizeof record) != sizeof record
        || syscall(SYS_write, trace, data, length) != (long)length)
        abort();
    errno = before;
}

static int is_watched(int fd)
{
    return fd >= 0 && fd < LIMIT && watched[fd];
}

static int opened(const char *path, int flags, mode_t mode)
{
    if (!is_inside(path))
        return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&lock);
    int created = access(path, F_OK) != 0;
    int fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd >= LIMIT)
        abort();
    if (fd >= 0) {
        watched[fd] = 1;
        put('o', fd, 0, created, path, strlen(path));
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name)                            \
    int name(const char *path, int flags, ...) \
    {                                         \
        va_list arguments;                    \
        va_start(arguments, flags);           \
        mode_t mode = mode_of(flags, arguments); \
        va_end(arguments);                    \
        return opened(path, flags, mode);     \
    }

OPEN(open)
OPEN(open64)

int __open_2(const char *path, int flags) { return opened(path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(path, flags, 0); }

int close(int fd)
{
    pthread_mutex_lock(&lock);
    if (is_watched(fd)) {
        watched[fd] = 0;
        put('c', fd, 0, 0, "", 0);
    }
    int result = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

#define WRITE(call, where)                          \
    if (!is_watched(fd))                            \
        return call;                                \
    pthread_mutex_lock(&lock);                      \
    uint64_t offset = where;                        \
    ssize_t written = call;                         \
    if (written > 0)                                \
        put('w', fd, offset, 0, data, written);     \
    pthread_mutex_unlock(&lock);                    \
    return written;

ssize_t write(int fd, const void *data, size_t size)
{
    WRITE(REAL(write)(fd, data, size), lseek(fd, 0, SEEK_CUR))
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    WRITE(REAL(pwrite)(fd, data, size, at), at)
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    WRITE(REAL(pwrite64)(fd, data, size, at), at)
}

#define DONE(kind, call, offset)               \
    if (!is_watched(fd))                       \
        return call;                           \
    pthread_mutex_lock(&lock);                 \
    int result = call;                         \
    if (result == 0)                           \
        put(kind, fd, offset, 0, "", 0);       \
    pthread_mutex_unlock(&lock);               \
    return result;

int ftruncate(int fd, off_t size) { DONE('t', REAL(ftruncate)(fd, size), size) }
int ftruncate64(int fd, off64_t size) { DONE('t', REAL(ftruncate64)(fd, size), size) }
int fsync(int fd) { DONE('s', REAL(fsync)(fd), 0) }
int fdatasync(int fd) { DONE('s', REAL(fdatasync)(fd), 0) }

int unlink(const char *path)
{
    if (!is_inside(path))
        return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int result = REAL(unlink)(path);
    if (result == 0)
        put('u', LIMIT, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}
