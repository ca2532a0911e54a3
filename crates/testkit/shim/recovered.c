/* The power-cut layer: the copy that survives. Runs once, with the lock held, before the end. */
#define _GNU_SOURCE
#include "power_cut.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* SplitMix64 over the seed and what is being decided: the same question has the same answer. */
uint64_t chance(uint64_t what, uint64_t which) {
    uint64_t z = seed ^ (what * 0x9e3779b97f4a7c15u);
    for (int round = 0; round < 2; round++) {
        z += 0x9e3779b97f4a7c15u + (round ? which : 0);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
    }
    return z;
}

static int64_t length_of(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Bytes that nobody wrote must be those on the disk, or zeros where the file was cut shorter. */
static bool is_unchanged(const struct node *node, int64_t stable, int64_t start, int64_t end) {
    static char real[1 << 16], image[1 << 16];
    while (start < end) {
        size_t want = end - start < (int64_t)sizeof real ? (size_t)(end - start) : sizeof real;
        size_t known = start >= stable ? 0 : (size_t)(stable - start) < want ? (size_t)(stable - start) : want;
        memset(image, 0, want);
        if (known > 0) syscall(SYS_pread64, node->image, image, known, start);
        ssize_t got = syscall(SYS_pread64, node->pin, real, want, start);
        if (got <= 0) return true;
        if (memcmp(real, image, got) != 0) return false;
        start += got;
    }
    return true;
}

static void check_that_all_writes_were_seen(const struct node *node) {
    if (node->writers > 0) return;
    int64_t length = length_of(node->pin), stable = length_of(node->image), at = 0;
    if (node->low < stable) stable = node->low;
    bool fine = true;
    for (size_t i = 0; i < node->dirty.len; i++) {
        fine = fine && is_unchanged(node, stable, at, (int64_t)node->dirty.at[i].first * SECTOR);
        at = (int64_t)node->dirty.at[i].end * SECTOR;
    }
    char path[PATH_MAX] = "?";
    path_of(node->pin, path, sizeof path);
    if (!fine || !is_unchanged(node, stable, at, length)) report("written past the layer: %s", path);
}

/* Keeps a seeded subset of the unsynced sectors that end at or before `limit`, or begin before it
 * if `partial`. */
static void keep_some_sectors(struct node *node, int64_t limit, bool partial) {
    static const uint64_t of_256[] = {0, 32, 128, 224, 256};
    uint64_t share = of_256[chance('s', node->id) % 5];
    for (size_t i = 0; i < node->dirty.len; i++) {
        for (uint64_t sector = node->dirty.at[i].first; sector < node->dirty.at[i].end; sector++) {
            int64_t start = (int64_t)sector * SECTOR, end = start + SECTOR;
            if (partial ? start >= limit : end > limit) break;
            if (chance(node->id, sector) % 256 >= share) continue;
            if (!copy_bytes(node->pin, node->image, start, end < limit ? end : limit)) report("cannot copy a sector");
        }
    }
}

/* The length a file that grew from `from` to `to` has on the disk: old, new or in between. */
static int64_t some_length(const struct node *node, int64_t from, int64_t to) {
    uint64_t which = chance('l', node->id);
    if (to <= from || which % 3 == 0) return from;
    if (which % 3 == 1) return to;
    return from + (int64_t)(chance('b', node->id) % (uint64_t)(to - from));
}

static void settle_length_and_sectors(struct node *node) {
    int64_t length = length_of(node->pin), on_disk = length_of(node->image);
    bool shrunk = node->low < on_disk;
    if (shrunk && (chance('t', node->id) & 1)) {
        keep_some_sectors(node, node->low, false); /* what was cut off is still there */
        return;
    }
    if (shrunk) {
        syscall(SYS_ftruncate, node->image, node->low);
        on_disk = node->low;
    }
    int64_t kept = some_length(node, on_disk, length);
    keep_some_sectors(node, kept, true);
    syscall(SYS_ftruncate, node->image, kept);
}

static void settle(struct node *node) {
    if (node->settled) return;
    node->settled = true;
    land(node);
    extents_merge(&node->dirty);
    check_that_all_writes_were_seen(node);
    settle_length_and_sectors(node);
    struct stat st;
    if (fstat(node->pin, &st) == 0) syscall(SYS_fchmod, node->image, st.st_mode & 07777);
}

/* A removal that was not synced may have reached the disk; a rename never without its new name. */
static bool is_lost(const struct node *dir, const struct entry *entry) {
    struct stat st;
    if (fstatat(dir->pin, entry->name, &st, AT_SYMLINK_NOFOLLOW) == 0) return false;
    if (fstat(entry->node->pin, &st) != 0 || st.st_nlink > 0) return false;
    return chance('u', entry->node->id) & 1;
}

static void restore(const struct node *dir, int into);

static void restore_directory(const struct entry *entry, int into) {
    struct stat st;
    mode_t mode = fstat(entry->node->pin, &st) == 0 ? st.st_mode & 07777 : 0700;
    syscall(SYS_mkdirat, into, entry->name, 0700);
    int below = syscall(SYS_openat, into, entry->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (below < 0) return report("cannot restore %s", entry->name);
    restore(entry->node, below);
    syscall(SYS_fchmod, below, mode);
    syscall(SYS_close, below);
}

static void restore_file(const struct entry *entry, int into) {
    char image[64];
    settle(entry->node);
    snprintf(image, sizeof image, "objects/%u", entry->node->id);
    if (syscall(SYS_linkat, shadow, image, into, entry->name, 0) != 0) report("cannot restore %s", entry->name);
}

static void restore(const struct node *dir, int into) {
    for (size_t i = 0; i < dir->durable.len; i++) {
        const struct entry *entry = &dir->durable.at[i];
        if (is_lost(dir, entry)) continue;
        if (entry->node->kind == A_DIRECTORY) {
            restore_directory(entry, into);
        } else {
            restore_file(entry, into);
        }
    }
}

void write_recovered(void) {
    syscall(SYS_mkdirat, shadow, "recovered", 0700);
    int into = syscall(SYS_openat, shadow, "recovered", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (into < 0) return report("cannot make the recovered folder");
    restore(root, into);
    struct stat st;
    if (fstat(root->pin, &st) == 0) syscall(SYS_fchmod, into, st.st_mode & 07777);
}
