/* The power-cut layer: the C library's calls that open, write, map and sync files. Each does what
 * the library's own does, and tells the layer. */
#define _GNU_SOURCE
#include "power_cut.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define AT_THE_CURSOR (-1)
#define ALIAS(of) __attribute__((alias(#of)))

/* === Opening and closing === */

static int open_and_tell(int dir, const char *path, int flags, mode_t mode) {
    int fd = syscall(SYS_openat, dir, path, flags, mode);
    int why = errno;
    if (fd >= 0) opened(fd, flags);
    errno = why;
    return fd;
}

#define MODE_AFTER(last)                             \
    mode_t mode = 0;                                 \
    if (flags & (O_CREAT | __O_TMPFILE)) {           \
        va_list args;                                \
        va_start(args, last);                        \
        mode = va_arg(args, mode_t);                 \
        va_end(args);                                \
    }

int open(const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return open_and_tell(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) ALIAS(open);

int openat(int dir, const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return open_and_tell(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) ALIAS(openat);

int creat(const char *path, mode_t mode) {
    return open_and_tell(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) ALIAS(creat);

/* What a compiler with fortified sources calls instead. */
int __open_2(const char *path, int flags) { return open_and_tell(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) ALIAS(__open_2);
int __openat_2(int dir, const char *path, int flags) { return open_and_tell(dir, path, flags, 0); }
int __openat64_2(int dir, const char *path, int flags) ALIAS(__openat_2);

int close(int fd) {
    if (active) forget_descriptor(fd);
    return syscall(SYS_close, fd);
}

int dup(int fd) {
    int copy = syscall(SYS_dup, fd);
    if (copy >= 0) copy_descriptor(fd, copy);
    return copy;
}

int dup3(int fd, int to, int flags) {
    int copy = syscall(SYS_dup3, fd, to, flags);
    if (copy >= 0) copy_descriptor(fd, copy);
    return copy;
}

int dup2(int fd, int to) {
    if (fd == to) return syscall(SYS_fcntl, fd, F_GETFD) < 0 ? -1 : fd;
    return dup3(fd, to, 0);
}

int fcntl(int fd, int command, ...) {
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    int result = syscall(SYS_fcntl, fd, command, argument);
    if (result >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) copy_descriptor(fd, result);
    return result;
}
int fcntl64(int fd, int command, ...) ALIAS(fcntl);

/* === Writing === */

struct writing {
    struct node *node;
    int fd;
    bool appends, at_cursor;
    int64_t start;
};

static void begin(struct writing *w, int fd, int64_t offset) {
    struct stat st;
    w->node = node_of_descriptor(fd, &st);
    if (!w->node) return;
    int flags = syscall(SYS_fcntl, fd, F_GETFL);
    w->fd = fd;
    w->appends = flags >= 0 && (flags & O_APPEND);
    w->at_cursor = offset == AT_THE_CURSOR;
    w->start = w->appends ? st.st_size : w->at_cursor ? syscall(SYS_lseek, fd, 0, SEEK_CUR) : offset;
    lock();
    w->node->writers++;
    unlock();
}

/* Where the written bytes end. Others may have moved the cursor or the end on: that only adds. */
static int64_t end_of(const struct writing *w, ssize_t done) {
    struct stat st;
    if (w->appends) return fstat(w->fd, &st) == 0 ? st.st_size : w->start + done;
    if (w->at_cursor) return syscall(SYS_lseek, w->fd, 0, SEEK_CUR);
    return w->start + done;
}

static ssize_t end(const struct writing *w, ssize_t done) {
    if (!w->node) return done;
    int why = errno;
    int64_t until = done > 0 ? end_of(w, done) : w->start;
    lock();
    w->node->writers--;
    add_dirty(w->node, w->start, until);
    unlock();
    errno = why;
    return done;
}

#define WRITING(fd, offset, call)    \
    struct writing w;                \
    begin(&w, fd, offset);           \
    return end(&w, call)

ssize_t write(int fd, const void *bytes, size_t count) {
    WRITING(fd, AT_THE_CURSOR, syscall(SYS_write, fd, bytes, count));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    WRITING(fd, AT_THE_CURSOR, syscall(SYS_writev, fd, parts, count));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    WRITING(fd, offset, syscall(SYS_pwrite64, fd, bytes, count, offset));
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) ALIAS(pwrite);

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    WRITING(fd, offset, syscall(SYS_pwritev, fd, parts, count, offset, 0L));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) ALIAS(pwritev);

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    WRITING(fd, offset, syscall(SYS_pwritev2, fd, parts, count, offset, 0L, flags));
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t offset, int flags) ALIAS(pwritev2);

ssize_t copy_file_range(int from, off_t *at, int fd, off_t *offset, size_t count, unsigned flags) {
    WRITING(fd, offset ? *offset : AT_THE_CURSOR, syscall(SYS_copy_file_range, from, at, fd, offset, count, flags));
}

ssize_t splice(int from, off_t *at, int fd, off_t *offset, size_t count, unsigned flags) {
    WRITING(fd, offset ? *offset : AT_THE_CURSOR, syscall(SYS_splice, from, at, fd, offset, count, flags));
}

ssize_t sendfile(int fd, int from, off_t *at, size_t count) {
    WRITING(fd, AT_THE_CURSOR, syscall(SYS_sendfile, fd, from, at, count));
}
ssize_t sendfile64(int fd, int from, off_t *at, size_t count) ALIAS(sendfile);

/* === Lengths and holes === */

int ftruncate(int fd, off_t length) {
    struct stat st;
    struct node *node = node_of_descriptor(fd, &st);
    int result = syscall(SYS_ftruncate, fd, length);
    if (node && result == 0) shrunk(node, length);
    return result;
}
int ftruncate64(int fd, off_t length) ALIAS(ftruncate);

int truncate(const char *path, off_t length) {
    int result = syscall(SYS_truncate, path, length);
    int why = errno;
    if (result == 0) shrunk_path(path, length);
    errno = why;
    return result;
}
int truncate64(const char *path, off_t length) ALIAS(truncate);

int fallocate(int fd, int mode, off_t offset, off_t length) {
    struct stat st;
    struct node *node = node_of_descriptor(fd, &st);
    int result = syscall(SYS_fallocate, fd, mode, offset, length);
    if (!node || result != 0) return result;
    lock();
    if (mode & ~FALLOC_FL_KEEP_SIZE) add_dirty(node, offset, offset + length);
    unlock();
    return result;
}
int fallocate64(int fd, int mode, off_t offset, off_t length) ALIAS(fallocate);

int posix_fallocate(int fd, off_t offset, off_t length) {
    return fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off_t offset, off_t length) ALIAS(posix_fallocate);

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    struct stat st;
    char path[PATH_MAX] = "?";
    bool writes = (protection & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE && !(flags & MAP_ANONYMOUS);
    if (writes && node_of_descriptor(fd, &st)) {
        path_of(fd, path, sizeof path);
        report("mapped for writing, which the layer cannot see: %s", path);
    }
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset) ALIAS(mmap);

/* === Syncing === */

int fsync(int fd) { return sync_descriptor(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_descriptor(fd, SYS_fdatasync); }

int syncfs(int fd) {
    if (active) report("syncfs, which the layer takes for no sync");
    return syscall(SYS_syncfs, fd);
}
