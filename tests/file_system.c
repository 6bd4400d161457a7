/* A file system without some operations, as networks and shared folders have it, for LD_PRELOAD:
   cc -shared -fPIC -o file_system.so file_system.c -ldl
   Each variable holds the number of the error that its operation gives; without it the operation works. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int refused(const char *operation) {
    const char *number = getenv(operation);
    if (!number) return 0;
    errno = atoi(number);
    return -1;
}

#define REAL(name, ...) ((int (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

int fsync(int file) {
    struct stat found;
    if (!fstat(file, &found) && refused(S_ISDIR(found.st_mode) ? "FSYNC_FOLDER" : "FSYNC")) return -1;
    return REAL(fsync, int)(file);
}
int flock(int file, int operation) { return refused("FLOCK") ? -1 : REAL(flock, int, int)(file, operation); }
int chmod(const char *path, mode_t mode) {
    return refused("CHMOD") ? -1 : REAL(chmod, const char *, mode_t)(path, mode);
}
int fchmod(int file, mode_t mode) { return refused("CHMOD") ? -1 : REAL(fchmod, int, mode_t)(file, mode); }
int link(const char *old, const char *new) {
    return refused("LINK") ? -1 : REAL(link, const char *, const char *)(old, new);
}
int rename(const char *old, const char *new) { /* to a name that exists */
    if (!access(new, F_OK) && refused("RENAME")) return -1;
    return REAL(rename, const char *, const char *)(old, new);
}
