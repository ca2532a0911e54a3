/* The power-cut layer: sets of sectors, and copying them. */
#define _GNU_SOURCE
#include "power_cut.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MERGE_AT 65536

void extents_add(struct extents *set, struct extent more) {
    if (set->len > 0) {
        struct extent *last = &set->at[set->len - 1];
        if (more.first >= last->first && more.first <= last->end) {
            if (more.end > last->end) last->end = more.end;
            return;
        }
    }
    if (set->len == set->cap) {
        if (set->len >= MERGE_AT) extents_merge(set);
        if (set->len * 2 >= set->cap) {
            set->cap = set->cap ? set->cap * 2 : 64;
            set->at = realloc(set->at, set->cap * sizeof *set->at);
            if (!set->at) abort();
        }
    }
    set->at[set->len++] = more;
}

static int by_first(const void *a, const void *b) {
    uint64_t x = ((const struct extent *)a)->first, y = ((const struct extent *)b)->first;
    return (x > y) - (x < y);
}

/* Sorts the set and joins what touches. */
void extents_merge(struct extents *set) {
    if (set->len < 2) return;
    qsort(set->at, set->len, sizeof *set->at, by_first);
    size_t kept = 0;
    for (size_t i = 1; i < set->len; i++) {
        struct extent *last = &set->at[kept];
        if (set->at[i].first > last->end) {
            set->at[++kept] = set->at[i];
        } else if (set->at[i].end > last->end) {
            last->end = set->at[i].end;
        }
    }
    set->len = kept + 1;
}

/* Moves everything out of `from`, which is empty afterwards. */
void extents_take(struct extents *from, struct extents *into) {
    if (into->len == 0) {
        struct extents empty = *into;
        *into = *from;
        *from = empty;
        return;
    }
    for (size_t i = 0; i < from->len; i++) extents_add(into, from->at[i]);
    from->len = 0;
}

/* False if the copy could not be written. A source that ends earlier is no error. */
bool copy_bytes(int from, int to, int64_t start, int64_t end) {
    static char buffer[1 << 18]; /* used under the layer's lock only */
    while (start < end) {
        size_t want = end - start < (int64_t)sizeof buffer ? (size_t)(end - start) : sizeof buffer;
        ssize_t got = syscall(SYS_pread64, from, buffer, want, start);
        if (got < 0) return false;
        if (got == 0) return true;
        if (syscall(SYS_pwrite64, to, buffer, got, start) != got) return false;
        start += got;
    }
    return true;
}
