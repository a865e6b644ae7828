/*
 * What a disk does that is slow, or that loses its power: an LD_PRELOAD library around fsync and fdatasync.
 *
 * Before the real call it notes how far the file has been written, then sleeps as long as the file FSYNC_DELAY_FILE says
 * (microseconds; no file, no sleep), then syncs, and if that succeeded appends "<offset> <size> <path>" to SYNCLOG.
 * A power cut is made by faults/power.rs: kill -9, then everything behind the last synced byte is gone.
 *
 * Both numbers are needed: an append-only file ends where it was written, a preallocated journal does not, but its
 * offset tells. The smaller of both is what is certainly on the disk.
 *
 * Limits: lost page cache only, no torn or reordered blocks, no lying disk, no lost names. It sees no msync, no O_DSYNC,
 * no io_uring and no statically linked program. Every variable holds an absolute path.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void note(int fd, long long offset, long long size) {
    const char *log = getenv("SYNCLOG");
    char link[64], path[512], line[640];
    if (!log) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return;
    path[n] = 0;
    int length = snprintf(line, sizeof line, "%lld %lld %s\n", offset, size, path);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0) return;
    if (write(out, line, length)) { /* one short appending write: lines of several threads do not mix */ }
    close(out);
}

static void delay(void) {
    const char *name = getenv("FSYNC_DELAY_FILE");
    char text[32];
    if (!name) return;
    int in = open(name, O_RDONLY | O_CLOEXEC);
    if (in < 0) return;
    ssize_t n = read(in, text, sizeof text - 1);
    close(in);
    if (n <= 0) return;
    text[n] = 0;
    long us = atol(text);
    struct timespec t = { us / 1000000, (us % 1000000) * 1000 };
    if (us > 0) nanosleep(&t, 0);
}

#define WRAP(NAME)                                                     \
    int NAME(int fd) {                                                 \
        static int (*real)(int);                                       \
        if (!real) real = dlsym(RTLD_NEXT, #NAME);                     \
        struct stat s;                                                 \
        long long size = fstat(fd, &s) == 0 ? (long long)s.st_size : 0; \
        long long offset = lseek(fd, 0, SEEK_CUR);                     \
        delay();                                                       \
        int outcome = real(fd);                                        \
        if (outcome == 0 && offset > 0) note(fd, offset, size);        \
        return outcome;                                                \
    }

WRAP(fsync)
WRAP(fdatasync)
