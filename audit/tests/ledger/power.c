/* A disk of which a test decides what survives. Preloaded into a process, it writes down in SHIM_JOURNAL
 * what is written to files under SHIM_ROOT, with what stood there before, and when a file was synced; the
 * test takes back from that what a power loss may take. And while the file SHIM_FAILS exists, what it names
 * fails for files under SHIM_ROOT: `sync ERRNO`; `write ERRNO`; `from N ERRNO` and `once N ERRNO`, which are
 * all writes and syncs from the Nth on, and that one alone; or `quota BYTES`, which is EDQUOT for a write that
 * would let the files in the folder SHIM_ROOT take more room than that.
 *
 *   W path\n offset size_before length\n old bytes, new bytes   (old bytes: what of [offset, +length) was there)
 *   T path\n size_before size_after tail\n old tail
 *   S path\n
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The path of a file under SHIM_ROOT, or 0. */
static int under_root(int fd, char *path, size_t room) {
    const char *root = getenv("SHIM_ROOT");
    char link[64];
    if (!root) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, room - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    struct stat about;
    return !strncmp(path, root, strlen(root)) && !fstat(fd, &about) && S_ISREG(about.st_mode);
}

/* The path of a file whose writes are noted, or 0. */
static int watched(int fd, char *path, size_t room) {
    return getenv("SHIM_JOURNAL") && under_root(fd, path, room);
}

/* Bytes that the files in the folder SHIM_ROOT take. */
static long long taken(void) {
    const char *root = getenv("SHIM_ROOT");
    long long sum = 0;
    DIR *folder = opendir(root);
    for (struct dirent *file; folder && (file = readdir(folder));) {
        struct stat about;
        if (!fstatat(dirfd(folder), file->d_name, &about, AT_SYMLINK_NOFOLLOW) && S_ISREG(about.st_mode))
            sum += 512LL * about.st_blocks;
    }
    if (folder) closedir(folder);
    return sum;
}

/* Whether this shall fail; sets errno. A write begins at `at`. */
static int fails(int fd, const char *deed, off_t at, size_t length) {
    const char *wish = getenv("SHIM_FAILS");
    static _Atomic long long deeds = 0;
    char path[4096], said[16] = "";
    long long number = 0, error = 0;
    struct stat about;
    FILE *file = wish && !access(wish, F_OK) && under_root(fd, path, sizeof path) ? fopen(wish, "re") : 0;
    if (!file) return 0;
    int read = fscanf(file, "%15s %lld %lld", said, &number, &error);
    fclose(file);
    if (read == 3) {
        long long turn = ++deeds;
        int is_turn = strcmp(said, "from") ? turn == number : turn >= number;
        return is_turn ? (errno = (int)error, 1) : 0;
    }
    if (read != 2) return 0;
    if (!strcmp(said, deed)) return errno = (int)number, 1;
    if (strcmp(said, "quota") || strcmp(deed, "write") || fstat(fd, &about)) return 0;
    /* By its length: a file system may count blocks of its own, from which nothing can be written. */
    long long there = (about.st_size + 4095) / 4096 * 4096;
    long long more = (long long)at + (long long)length - there;
    if (more <= 0 || taken() + more <= number) return 0;
    return errno = EDQUOT, 1;
}

static void note(const void *bytes, size_t length) {
    static int journal = -1;
    if (journal < 0) journal = open(getenv("SHIM_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    for (const char *at = bytes; length > 0;) {
        ssize_t done = syscall(SYS_write, journal, at, length);
        if (done <= 0) abort();
        at += done;
        length -= (size_t)done;
    }
}

static off_t size_of(int fd) {
    struct stat about;
    return fstat(fd, &about) ? 0 : about.st_size;
}

/* Does a write with its note beside it, so that a kill finds both or neither but for the last. */
static ssize_t put(int fd, const void *bytes, size_t length, off_t at) {
    char path[4096], head[4200];
    if (fails(fd, "write", at, length)) return -1;
    if (!watched(fd, path, sizeof path)) return syscall(SYS_pwrite64, fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    off_t before = size_of(fd);
    size_t old = at >= before ? 0 : (size_t)(before - at) < length ? (size_t)(before - at) : length;
    char *there = malloc(old + length + 1);
    int reading = open(path, O_RDONLY | O_CLOEXEC);
    if (!there || (old && syscall(SYS_pread64, reading, there, old, at) != (ssize_t)old)) abort();
    if (reading >= 0) close(reading);
    memcpy(there + old, bytes, length);
    int used = snprintf(head, sizeof head, "W %s\n%lld %lld %zu\n", path, (long long)at, (long long)before, length);
    note(head, (size_t)used);
    note(there, old + length);
    free(there);
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, at);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) { return put(fd, bytes, length, at); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return put(fd, bytes, length, at); }

ssize_t write(int fd, const void *bytes, size_t length) {
    char path[4096];
    off_t at = fcntl(fd, F_GETFL) & O_APPEND ? size_of(fd) : lseek(fd, 0, SEEK_CUR);
    if (fails(fd, "write", at, length)) return -1;
    if (!watched(fd, path, sizeof path)) return syscall(SYS_write, fd, bytes, length);
    ssize_t done = put(fd, bytes, length, at);
    if (done > 0) lseek(fd, at + done, SEEK_SET);
    return done;
}

static int cut(int fd, off_t size) {
    char path[4096], head[4200];
    if (!watched(fd, path, sizeof path)) return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    off_t before = size_of(fd);
    size_t tail = before > size ? (size_t)(before - size) : 0;
    char *there = malloc(tail + 1);
    int reading = open(path, O_RDONLY | O_CLOEXEC);
    if (!there || (tail && syscall(SYS_pread64, reading, there, tail, size) != (ssize_t)tail)) abort();
    if (reading >= 0) close(reading);
    int used = snprintf(head, sizeof head, "T %s\n%lld %lld %zu\n", path, (long long)before, (long long)size, tail);
    note(head, (size_t)used);
    note(there, tail);
    free(there);
    int done = (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate64(int fd, off_t size) { return cut(fd, size); }
int ftruncate(int fd, off_t size) { return cut(fd, size); }

static int sync_file(int fd, long how) {
    char path[4096], head[4200];
    if (fails(fd, "sync", 0, 0)) return -1;
    int done = (int)syscall(how, fd);
    if (!done && watched(fd, path, sizeof path)) {
        pthread_mutex_lock(&lock);
        int used = snprintf(head, sizeof head, "S %s\n", path);
        note(head, (size_t)used);
        pthread_mutex_unlock(&lock);
    }
    return done;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }
