/*
 * Notes what a process has made durable, so that a test can take away the rest: what a power cut leaves behind.
 *
 * A library for LD_PRELOAD. It stands before fsync and fdatasync: it looks how much of the file the call covers, waits if
 * told so, makes the call, and writes down what is safe now if the call succeeded. Killing the process alone loses
 * nothing, because written pages outlive it; cutting each file down to what was noted loses what a power cut would.
 *
 * Build:  cc -shared -fPIC -O2 -o shim.so shim.c -ldl
 *
 * Environment of the process under test
 *   LD_PRELOAD         absolute path of the built library
 *   POWERCUT_LOG       absolute path of the log; nothing is noted without it. Lines are appended.
 *   POWERCUT_MODE      how the covered bytes are counted, before the call:
 *                        size    the file's size (default): files that only grow, such as Redis's append-only file
 *                        offset  where the descriptor stands, at most the size: files that were given their size in
 *                                advance, such as fjall's journal
 *   POWERCUT_DELAY_US  microseconds to wait before each call, for a slow disk; 0 if not set
 *   POWERCUT_DELAY_FILE  absolute path of a file that holds this number instead, read before each call, so that a disk
 *                      becomes slow while the process runs; no file, no wait
 *
 * Log: a line for each call that succeeded on an ordinary file, in one write each, so that threads do not mix:
 *   <covered bytes> <inode> <path>
 * all numbers decimal, the path absolute, to the end of the line. A file that is renamed later keeps its inode.
 *
 * The cut, by whoever reads the log, after kill -9:
 *   For each file the highest number of its inode in the log of this run is safe (a second descriptor that has not
 *   moved notes 0). Mode size: truncate the file to it. Mode offset: overwrite what is behind it with zeros, since the
 *   size itself was durable. A file from before this run that the log does not name was not touched: leave it. A new
 *   one that it does not name was never synced: empty it. Begin each run with an empty log.
 *
 * Not seen: O_SYNC and O_DSYNC writes, msync, syncfs, io_uring, direct system calls, static programs. Not modelled: torn
 * or reordered blocks, lost names of files, disks that lie.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef int sync_call(int fd);

static struct {
    sync_call *fsync;
    sync_call *fdatasync;
    long delay_us;
    const char *delay_file;
    int by_offset;
    int log; /* -1: nothing is noted */
} shim;

static pthread_once_t ready = PTHREAD_ONCE_INIT;

static void get_ready(void) {
    const char *log = getenv("POWERCUT_LOG");
    const char *mode = getenv("POWERCUT_MODE");
    const char *delay = getenv("POWERCUT_DELAY_US");
    shim.fsync = (sync_call *)dlsym(RTLD_NEXT, "fsync");
    shim.fdatasync = (sync_call *)dlsym(RTLD_NEXT, "fdatasync");
    shim.delay_us = delay ? atol(delay) : 0;
    shim.delay_file = getenv("POWERCUT_DELAY_FILE");
    shim.by_offset = mode && strcmp(mode, "offset") == 0;
    shim.log = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (log && shim.log < 0) {
        dprintf(2, "powercut: cannot open %s: %s\n", log, strerror(errno));
        _exit(70); /* a run without its log would prove nothing */
    }
}

/* Returns how many bytes of a file a sync from now on covers, or -1 for what is no ordinary file. */
static long long covered(int fd, struct stat *file) {
    if (fstat(fd, file) != 0 || !S_ISREG(file->st_mode)) return -1;
    if (!shim.by_offset) return file->st_size;
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < file->st_size ? at : file->st_size;
}

static void note(int fd, long long bytes, unsigned long long inode) {
    char link[40], path[4096], line[4200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) length = 0;
    path[length] = 0;
    int n = snprintf(line, sizeof line, "%lld %llu %s\n", bytes, inode, path);
    if (n < (int)sizeof line && write(shim.log, line, n) != n) {
        _exit(70); /* as above */
    }
}

static long delay_us(void) {
    char text[32];
    if (!shim.delay_file) return shim.delay_us;
    int file = open(shim.delay_file, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    return atol(text);
}

static int noted(int fd, int data_only) {
    pthread_once(&ready, get_ready);
    struct stat file;
    long long bytes = covered(fd, &file);
    long delay = delay_us();
    if (delay > 0) {
        struct timespec pause = {delay / 1000000, delay % 1000000 * 1000};
        nanosleep(&pause, NULL);
    }
    int outcome = data_only ? shim.fdatasync(fd) : shim.fsync(fd);
    int error = errno;
    if (outcome == 0 && bytes >= 0 && shim.log >= 0) note(fd, bytes, file.st_ino);
    errno = error;
    return outcome;
}

int fsync(int fd) { return noted(fd, 0); }
int fdatasync(int fd) { return noted(fd, 1); }
