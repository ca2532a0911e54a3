/* The power-cut layer: one layer below the process, over all files of one folder.
 *
 * It is preloaded into an unmodified, dynamically linked program and stands between its calls and
 * the C library (`hooks.c`). It is the one place of the test code that is not safe Rust, because
 * nothing else can stand there; it is never part of a shipped program.
 *
 * Next to the real folder (POWER_CUT_ROOT) it keeps, in POWER_CUT_SHADOW, what a disk would hold
 * if the power failed now:
 *   - bytes of a file: what was there at the start and at each fsync or fdatasync of it that
 *     returned; what was written since is known as a set of 512-byte sectors;
 *   - names in a directory: those of the start and of its last fsync, by inode, so that a new file
 *     and a rename are there only after the directory's sync, whoever made them and how.
 * At the chosen sync call (the POWER_CUT_AT-th of files whose path ends with POWER_CUT_FILE) it
 * writes that state to POWER_CUT_SHADOW/recovered (`recovered.c`), with a seeded choice of the
 * sectors, lengths and removals that were not synced, and kills the process with SIGKILL. The cut
 * falls before or after that sync, seeded. While the copy is written the lock is held, so no
 * other thread returns from a sync that the copy does not contain.
 *
 * A cut can also be ordered while the program runs: POWER_CUT_SHADOW/order holds `AT WHEN FILE`, and counting
 * begins at the sync at which it is found. Whoever renames that file first decides: the layer, which carries it
 * out, or the test, which withdraws it.
 *
 * SQLite's shared memory file (`-shm`) is never kept. Other files must not be mapped for writing:
 * that, and anything else that the layer cannot stand for, is written to POWER_CUT_SHADOW/report;
 * a file whose bytes changed behind its back is found when the cut compares it.
 *
 * Calls of our own are raw system calls: the C library's names would lead back into the hooks.
 */
#define _GNU_SOURCE
#include "power_cut.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __LP64__
#error "the power-cut layer knows 64-bit systems only"
#endif

#define DESCRIPTORS (1 << 20)
#define COUNT_LINE 320

bool active;
struct node *root;
int shadow = -1;
uint64_t seed;

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;
static struct node *_Atomic by_descriptor[DESCRIPTORS];
static struct node *nodes;
static unsigned next_id;
static char root_path[PATH_MAX];

/* The cut asked for, and the sync calls seen. */
static const char *cut_file = "";
static uint64_t cut_at, cut_seen;
static enum { AS_SEEDED, BEFORE, AFTER } cut_when = AS_SEEDED;
static int counts_fd = -1;
static struct count {
    char path[PATH_MAX];
    uint64_t calls;
} *counts;
static size_t counted;

void lock(void) { pthread_mutex_lock(&the_lock); }
void unlock(void) { pthread_mutex_unlock(&the_lock); }

/* === What cannot be stood for === */

void report(const char *fmt, ...) {
    char line[PATH_MAX + 256];
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(line, sizeof line - 1, fmt, args);
    va_end(args);
    if (length < 0) return;
    if ((size_t)length > sizeof line - 2) length = sizeof line - 2;
    line[length++] = '\n';
    int fd = syscall(SYS_openat, shadow, "report", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, length);
    syscall(SYS_close, fd);
}

static void hopeless(const char *what) {
    report("%s: %s", what, strerror(errno));
    abort();
}

/* === Nodes === */

static struct node *find(const struct stat *st) {
    for (struct node *node = nodes; node; node = node->next)
        if (node->ino == st->st_ino && node->dev == st->st_dev) return node;
    return NULL;
}

static bool is_shared_memory(const char *name) {
    size_t length = strlen(name);
    return length >= 4 && strcmp(name + length - 4, "-shm") == 0;
}

static int open_image(unsigned id) {
    char name[64];
    snprintf(name, sizeof name, "objects/%u", id);
    int fd = syscall(SYS_openat, shadow, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) hopeless("cannot make an image");
    return fd;
}

/* Makes a node; `pin` belongs to it from now on. The disk holds nothing of it yet. */
static struct node *add_node(int pin, const struct stat *st) {
    struct node *node = calloc(1, sizeof *node);
    if (!node) hopeless("no memory");
    *node = (struct node){.next = nodes, .dev = st->st_dev, .ino = st->st_ino, .id = next_id++, .pin = pin};
    node->kind = S_ISDIR(st->st_mode) ? A_DIRECTORY : A_FILE;
    node->low = node->flight_low = NEVER_SHRUNK;
    node->image = node->kind == A_FILE ? open_image(node->id) : -1;
    pthread_mutex_init(&node->sync_lock, NULL);
    nodes = node;
    return node;
}

/* The node of a name in a directory, or NULL if it is nothing that the layer keeps. */
static struct node *node_at(int dir, const char *name) {
    struct stat st;
    if (is_shared_memory(name) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return NULL;
    if (S_ISLNK(st.st_mode)) report("a symbolic link, which the layer does not keep: %s", name);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return NULL;
    struct node *known = find(&st);
    if (known) return known;
    int pin = syscall(SYS_openat, dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (pin < 0 && errno == ENOENT) return NULL;
    if (pin < 0) hopeless(name);
    if (fstat(pin, &st) != 0) hopeless(name);
    return add_node(pin, &st);
}

static struct entries names_in(const struct node *dir) {
    struct entries found = {0};
    int fd = syscall(SYS_openat, dir->pin, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 && errno == ENOENT) return found; /* removed meanwhile */
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) hopeless("cannot list a directory");
    for (struct dirent *item; (item = readdir(list));) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) continue;
        struct node *node = node_at(fd, item->d_name);
        if (!node) continue;
        if (found.len == found.cap) {
            found.cap = found.cap ? found.cap * 2 : 16;
            found.at = realloc(found.at, found.cap * sizeof *found.at);
        }
        char *name = strdup(item->d_name);
        if (!found.at || !name) hopeless("no memory");
        found.at[found.len++] = (struct entry){name, node};
    }
    closedir(list);
    return found;
}

static void free_entries(struct entries *entries) {
    for (size_t i = 0; i < entries->len; i++) free(entries->at[i].name);
    free(entries->at);
    *entries = (struct entries){0};
}

static bool is_named_on_disk(const struct node *wanted) {
    for (struct node *dir = nodes; dir; dir = dir->next)
        for (size_t i = 0; i < dir->durable.len; i++)
            if (dir->durable.at[i].node == wanted) return true;
    return false;
}

/* Lets go of files that nobody can reach any more, now or after a cut. The few bytes of the node stay:
 * another thread may be looking at them. */
static void release_the_dead(void) {
    for (struct node **at = &nodes; *at;) {
        struct node *node = *at;
        struct stat st;
        bool dead = node->kind == A_FILE && node->open == 0 && fstat(node->pin, &st) == 0 && st.st_nlink == 0 &&
                    !is_named_on_disk(node);
        if (!dead) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        syscall(SYS_close, node->pin);
        syscall(SYS_close, node->image);
        char name[64];
        snprintf(name, sizeof name, "objects/%u", node->id);
        syscall(SYS_unlinkat, shadow, name, 0);
        free(node->dirty.at);
        free(node->flight.at);
    }
}

/* Everything below the root at the start is on the disk. */
static void load(struct node *dir) {
    dir->durable = names_in(dir);
    for (size_t i = 0; i < dir->durable.len; i++) {
        struct node *node = dir->durable.at[i].node;
        if (node->kind == A_DIRECTORY) {
            load(node);
        } else if (!copy_bytes(node->pin, node->image, 0, INT64_MAX)) {
            hopeless("cannot copy a file");
        }
    }
}

/* === Descriptors === */

bool path_of(int fd, char *into, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, into, size - 1);
    if (length < 0) return false;
    into[length] = 0;
    static const char gone[] = " (deleted)";
    size_t tail = sizeof gone - 1;
    if ((size_t)length > tail && strcmp(into + length - tail, gone) == 0) into[length - tail] = 0;
    return true;
}

static bool is_below_root(int fd) {
    char path[PATH_MAX];
    size_t length = strlen(root_path);
    if (!path_of(fd, path, sizeof path) || is_shared_memory(path)) return false;
    return strncmp(path, root_path, length) == 0 && (path[length] == '/' || path[length] == 0);
}

/* The node behind a descriptor; `now` is its state. A descriptor that was closed and used again
 * past the hooks is noticed. */
struct node *node_of_descriptor(int fd, struct stat *now) {
    if (!active || fd < 0 || fd >= DESCRIPTORS) return NULL;
    struct node *node = by_descriptor[fd];
    if (!node) return NULL;
    if (fstat(fd, now) == 0 && now->st_ino == node->ino && now->st_dev == node->dev) return node;
    forget_descriptor(fd);
    return NULL;
}

static void set_descriptor(int fd, struct node *node) {
    if (fd < 0 || fd >= DESCRIPTORS) return;
    if (node) node->open++;
    struct node *before = atomic_exchange(&by_descriptor[fd], node);
    if (before) before->open--;
}

void forget_descriptor(int fd) { set_descriptor(fd, NULL); }

void copy_descriptor(int from, int to) {
    if (!active || from < 0 || from >= DESCRIPTORS) return;
    set_descriptor(to, by_descriptor[from]);
}

/* Takes note of a descriptor that was just opened. */
struct node *opened(int fd, int flags) {
    if (!active || fd < 0 || fd >= DESCRIPTORS) return NULL;
    struct stat st;
    bool ours = !(flags & O_PATH) && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) &&
                is_below_root(fd);
    if (!ours) {
        forget_descriptor(fd);
        return NULL;
    }
    lock();
    struct node *node = find(&st);
    if (!node) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        int pin = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
        if (pin < 0) hopeless("cannot keep a file open");
        node = add_node(pin, &st);
    }
    set_descriptor(fd, node);
    unlock();
    if (flags & O_TRUNC) shrunk(node, 0);
    if (flags & O_DSYNC) report("a file opened with O_SYNC or O_DSYNC: its writes count as not synced");
    return node;
}

/* === Writes === */

void shrunk(struct node *node, int64_t length) {
    lock();
    if (length < node->low) node->low = length;
    unlock();
}

void shrunk_path(const char *path, int64_t length) {
    struct stat st;
    if (!active || fstatat(AT_FDCWD, path, &st, 0) != 0) return;
    lock();
    struct node *node = find(&st);
    unlock();
    if (node) shrunk(node, length);
}

/* Bytes `start` up to `end` were written. The caller holds the lock. */
void add_dirty(struct node *node, int64_t start, int64_t end) {
    if (start < 0 || end <= start) return;
    extents_add(&node->dirty, (struct extent){start / SECTOR, (end + SECTOR - 1) / SECTOR});
}

/* === Syncs === */

static void write_count(size_t slot) {
    char line[COUNT_LINE + 1];
    snprintf(line, sizeof line, "%20llu %-298.298s\n", (unsigned long long)counts[slot].calls, counts[slot].path);
    syscall(SYS_pwrite64, counts_fd, line, COUNT_LINE, slot * COUNT_LINE);
}

static struct count *count_of(const char *path) {
    for (size_t i = 0; i < counted; i++)
        if (strcmp(counts[i].path, path) == 0) return &counts[i];
    counts = realloc(counts, (counted + 1) * sizeof *counts);
    if (!counts) hopeless("no memory");
    counts[counted].calls = 0;
    snprintf(counts[counted].path, sizeof counts[counted].path, "%s", path);
    return &counts[counted++];
}

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return b <= a && strcmp(text + a - b, end) == 0;
}

/* Looks for a cut that was ordered while the program runs. */
static void look_for_an_order(void) {
    static char file[PATH_MAX];
    int fd = syscall(SYS_openat, shadow, "order", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return;
    char text[PATH_MAX + 64] = {0}, when = 0;
    unsigned long long at = 0;
    syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (sscanf(text, "%llu %c%*s %4095s", &at, &when, file) != 3) return report("not an order: %s", text);
    cut_file = file;
    cut_when = when == 'b' ? BEFORE : AFTER;
    cut_at = at;
}

/* Whether a cut that is due falls: one that was ordered may have been withdrawn. */
static bool falls(void) {
    return cut_when == AS_SEEDED || syscall(SYS_renameat2, shadow, "order", shadow, "carried-out", 0) == 0;
}

/* Counts a sync call under the node's path from the root (a directory's ends with a slash).
 * True for the call at which the power fails. */
static bool count_sync(const struct node *node, int fd) {
    char path[PATH_MAX + 2];
    if (!path_of(fd, path, PATH_MAX)) return false;
    size_t skip = strlen(root_path);
    char *below = strlen(path) > skip ? path + skip + 1 : strcpy(path, ".");
    if (node->kind == A_DIRECTORY) strcat(below, "/");
    struct count *count = count_of(below);
    count->calls++;
    write_count(count - counts);
    if (cut_at == 0) look_for_an_order();
    return cut_at > 0 && ends_with(below, cut_file) && ++cut_seen == cut_at && falls();
}

/* What a sync that begins now has to bring to the disk. */
static void take_off(struct node *node, int64_t length) {
    extents_take(&node->dirty, &node->flight);
    node->flight_low = node->low;
    node->flight_length = length;
    node->low = NEVER_SHRUNK;
}

/* The sync failed, or did not end: everything is unsynced again. */
void land(struct node *node) {
    extents_take(&node->flight, &node->dirty);
    if (node->flight_low < node->low) node->low = node->flight_low;
    node->flight_low = NEVER_SHRUNK;
}

static void bring_to_disk(struct node *node) {
    struct stat image;
    if (fstat(node->image, &image) != 0) hopeless("an image");
    if (node->flight_low < image.st_size) syscall(SYS_ftruncate, node->image, node->flight_low);
    syscall(SYS_ftruncate, node->image, node->flight_length);
    for (size_t i = 0; i < node->flight.len; i++) {
        int64_t end = (int64_t)node->flight.at[i].end * SECTOR;
        if (end > node->flight_length) end = node->flight_length;
        if (!copy_bytes(node->pin, node->image, (int64_t)node->flight.at[i].first * SECTOR, end))
            hopeless("cannot copy a file");
    }
    node->flight.len = 0;
    node->flight_low = NEVER_SHRUNK;
}

static int sync_file(struct node *node, int fd, long number) {
    struct stat st;
    lock();
    if (fstat(fd, &st) != 0) st.st_size = 0;
    take_off(node, st.st_size);
    unlock();
    int result = syscall(number, fd);
    int why = errno;
    lock();
    if (result == 0) {
        bring_to_disk(node);
    } else {
        land(node);
    }
    unlock();
    errno = why;
    return result;
}

static int sync_directory(struct node *dir, int fd, long number) {
    lock();
    struct entries names = names_in(dir);
    unlock();
    int result = syscall(number, fd);
    int why = errno;
    lock();
    if (result == 0) {
        struct entries before = dir->durable;
        dir->durable = names;
        names = before;
        release_the_dead();
    }
    free_entries(&names);
    unlock();
    errno = why;
    return result;
}

static void cut(bool before) {
    lock();
    write_recovered();
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s sync call %llu of %s\n", before ? "before" : "after",
                          (unsigned long long)cut_at, cut_file);
    int fd = syscall(SYS_openat, shadow, "cut", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    syscall(SYS_write, fd, line, length);
    for (;;) syscall(SYS_kill, getpid(), SIGKILL);
}

int sync_descriptor(int fd, long number) {
    struct stat st;
    struct node *node = node_of_descriptor(fd, &st);
    if (!node) node = opened(fd, 0); /* opened past the hooks */
    if (!node) return syscall(number, fd);
    lock();
    bool last = count_sync(node, fd);
    unlock();
    bool before = cut_when == AS_SEEDED ? chance('c', 0) & 1 : cut_when == BEFORE;
    if (last && before) cut(true);
    pthread_mutex_lock(&node->sync_lock);
    int result = node->kind == A_FILE ? sync_file(node, fd, number) : sync_directory(node, fd, number);
    int why = errno;
    if (last) cut(false);
    pthread_mutex_unlock(&node->sync_lock);
    errno = why;
    return result;
}

/* === Start === */

static uint64_t number_from(const char *name) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("POWER_CUT_ROOT"), *copy = getenv("POWER_CUT_SHADOW");
    unsetenv("LD_PRELOAD"); /* children are none of our business */
    if (!folder || !copy) return;
    shadow = syscall(SYS_openat, AT_FDCWD, copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (shadow < 0) abort();
    if (!realpath(folder, root_path)) hopeless(folder);
    if (getenv("POWER_CUT_FILE")) cut_file = strdup(getenv("POWER_CUT_FILE"));
    cut_at = number_from("POWER_CUT_AT");
    seed = number_from("POWER_CUT_SEED");
    counts_fd = syscall(SYS_openat, shadow, "counts", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int pin = syscall(SYS_openat, AT_FDCWD, root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    struct stat st;
    if (counts_fd < 0 || pin < 0 || fstat(pin, &st) != 0) hopeless(folder);
    root = add_node(pin, &st);
    load(root);
    active = true;
}
