// Reads tokens, a line each, and says of each whether the recipe lets it in.
#define _GNU_SOURCE
#include <stdio.h>

#include "recipe.c"

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    curl_global_init(CURL_GLOBAL_ALL);
    while ((length = getline(&line, &size, stdin)) > 0) {
        line[strcspn(line, "\n")] = 0;
        json_t *claims = verify(line);
        printf("%s %s\n", claims ? "ok" : "no", claims ? json_string_value(json_object_get(claims, "client_id")) : "");
        fflush(stdout);
        json_decref(claims);
    }
    free(line);
    json_decref(keys);
    curl_global_cleanup();
    return 0;
}
