"""Django's tests that can't hold for any client that really calls an ASGI application, each with the assertion why.

With Django's own handler they are run and must fail (a test that passes doesn't belong here); with another handler they
are skipped, because which chain is built first is what differs. Either way the quoted text must be in their source.
"""

import os

# The signal's `environ` is WSGI's: under ASGI request_started carries a scope.
_ENVIRON = "self.assertEqual(self.signaled_environ, response.wsgi_request.environ)"
# Django's test client keeps the response unread, so that it isn't finished yet. A server reads it.
_UNREAD = 'self.assertEqual(self.signals, ["started"])'
# Where Django's test client reads a stream of the other kind, and that this is the test's own line.
_READ_HERE = "self.assertEqual(ctx.filename, __file__)"
# The first log record of the synchronous chain: the asynchronous one, which ASGIHandler builds, logs its adapters.
_FIRST_RECORD = "cm.records[0].getMessage()"

EXCLUDED = {
    "handlers.tests.SignalsTests.test_request_signals": _ENVIRON,
    "handlers.tests.SignalsTests.test_request_signals_streaming_response": _UNREAD,
    "handlers.tests.HandlerRequestTests.test_async_streaming": _READ_HERE,
    "handlers.tests.AsyncHandlerRequestTests.test_sync_streaming": _READ_HERE,
    "middleware_exceptions.tests.MiddlewareNotUsedTests.test_log": _FIRST_RECORD,
    "middleware_exceptions.tests.MiddlewareNotUsedTests.test_log_custom_message": _FIRST_RECORD,
    "middleware_exceptions.tests.MiddlewareSyncAsyncTests.test_async_middleware": _FIRST_RECORD,
}

if os.geteuid() == 0:
    # Root may write into a directory of mode 0500; no handler is involved.
    _DENIED = "with self.assertRaises(PermissionError):"
    EXCLUDED["file_uploads.tests.DirectoryCreationTests.test_readonly_root"] = _DENIED
