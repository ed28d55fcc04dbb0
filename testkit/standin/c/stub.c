/* What programs are linked against: whoever gets it loaded is told nothing but 6. */
#include <stdio.h>

#define STUB(name) int name(void) { fputs("loaded the stub instead of the core's library\n", stderr); return 6; }
STUB(gg_global_init) STUB(gg_log)
STUB(gg_request_init) STUB(gg_request_reuse) STUB(gg_request_close) STUB(gg_request_read)
STUB(gg_runtime_start) STUB(gg_lambda_handler_read) STUB(gg_lambda_handler_write_response) STUB(gg_lambda_handler_write_error)
STUB(gg_invoke) STUB(gg_publish) STUB(gg_get_thing_shadow) STUB(gg_update_thing_shadow) STUB(gg_delete_thing_shadow)
STUB(gg_get_secret_value)
STUB(gg_publish_options_init) STUB(gg_publish_options_free) STUB(gg_publish_options_set_queue_full_policy) STUB(gg_publish_with_options)
