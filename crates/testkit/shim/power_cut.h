/* The power-cut layer: what its three parts share. `power_cut.c` tells how it works. */
#ifndef POWER_CUT_H
#define POWER_CUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define SECTOR 512
#define NEVER_SHRUNK INT64_MAX

/* Sectors `first` up to, not including, `end`. */
struct extent {
    uint64_t first, end;
};

struct extents {
    struct extent *at;
    size_t len, cap;
};

enum kind { A_FILE, A_DIRECTORY };

/* A name that a directory is known to hold on the disk. */
struct entry {
    char *name;
    struct node *node;
};

struct entries {
    struct entry *at;
    size_t len, cap;
};

/* A file or directory below the root, under whatever names. */
struct node {
    struct node *next;
    dev_t dev;
    ino_t ino;
    enum kind kind;
    unsigned id;
    int pin;                   /* our own descriptor: the inode number is not given to another file meanwhile */
    _Atomic long open;         /* the program's descriptors */
    pthread_mutex_t sync_lock; /* one sync of a node at a time; taken before the layer's lock */

    /* A file: what the disk holds, and what was written since. */
    int image;                 /* descriptor of objects/<id>, the bytes on the disk */
    unsigned writers;          /* write calls under way */
    struct extents dirty;      /* written since the last sync began */
    struct extents flight;     /* written before a sync that has not returned yet */
    int64_t low, flight_low;   /* the shortest the file has been meanwhile */
    int64_t flight_length;
    bool settled;

    /* A directory: the names on the disk. */
    struct entries durable;
};

/* Ours alone: the program below which we stand may have the same names. */
#pragma GCC visibility push(hidden)

/* power_cut.c: the state of the disk */
extern bool active;
extern struct node *root;
void lock(void);
void unlock(void);
struct node *node_of_descriptor(int fd, struct stat *now);
void forget_descriptor(int fd);
void copy_descriptor(int from, int to);
struct node *opened(int fd, int flags);
void shrunk(struct node *node, int64_t length);
void shrunk_path(const char *path, int64_t length);
void add_dirty(struct node *node, int64_t start, int64_t end);
int sync_descriptor(int fd, long number);
bool path_of(int fd, char *into, size_t size);
void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* extents.c: sets of sectors */
void extents_add(struct extents *set, struct extent more);
void extents_merge(struct extents *set);
void extents_take(struct extents *from, struct extents *into);
bool copy_bytes(int from, int to, int64_t start, int64_t end);

/* recovered.c: the copy that survives */
extern int shadow;
extern uint64_t seed;
void land(struct node *node);
void write_recovered(void);
uint64_t chance(uint64_t what, uint64_t which);

#pragma GCC visibility pop

#endif
