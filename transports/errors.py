"""The error tree: whose fault, a stable code, an HTTP status, and whether trying again can help."""

from __future__ import annotations

from typing import ClassVar

from transports.messages import Failed


class MlxdError(Exception):
    """Base of all our errors; the subclass says whose fault it was.

    Args:
        message: What was wrong, what was found, what would do. Never holds prompts or secrets.
        param: The request field at fault.
        retry_after_s: When trying again makes sense, seconds.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def to_failed(self) -> Failed:
        """This error as the body of a failed message."""
        return Failed(
            code=self.code, message=self.message, param=self.param, retry_after_s=self.retry_after_s
        )


# --- the caller's fault -----------------------------------------------------------------------


class RequestError(MlxdError):
    """The request is wrong and stays wrong."""

    code = "invalid_request"
    http_status = 400


class ContextLengthExceeded(RequestError):
    """Prompt, or prompt and max_tokens, do not fit in the model's context."""

    code = "context_length_exceeded"


class ModelNotFound(RequestError):
    """No model of that name is in the catalog."""

    code = "model_not_found"
    http_status = 404


class NotFound(RequestError):
    """No such thing: route, environment, operation."""

    code = "not_found"
    http_status = 404


class PreviousResponseNotFound(RequestError):
    """The response that a request goes on from is not kept, or no longer."""

    code = "previous_response_not_found"


class ThreadUnsupported(RequestError):
    """The server is to keep a conversation of Anthropic's API; its SDKs know the code, and do without."""

    code = "thread_unsupported_request"


class MethodNotAllowed(RequestError):
    """The route exists, the method does not."""

    code = "method_not_allowed"
    http_status = 405


class RequestTooLarge(RequestError):
    """A body or a frame is over its limit."""

    code = "request_too_large"
    http_status = 413


class RequestTimeout(RequestError):
    """The request's body did not arrive in time."""

    code = "request_timeout"
    http_status = 408


class UnsupportedMediaType(RequestError):
    """Not a content type that we read."""

    code = "unsupported_media_type"
    http_status = 415


class InvalidImage(RequestError):
    """A picture or document cannot be decoded, or is over a limit of its pixels or pages."""

    code = "invalid_image"


class TaskNotSupported(RequestError):
    """The model's worker cannot do what was asked of it."""

    code = "task_not_supported"


class PoisonRequest(RequestError):
    """The same request has ended its model's worker twice, the second time alone in it."""

    code = "poison_request"
    http_status = 422


class Unauthorized(RequestError):
    """An API key is needed, and there is none of ours."""

    code = "invalid_api_key"
    http_status = 401


class Forbidden(RequestError):
    """Not allowed from there."""

    code = "forbidden"
    http_status = 403


# --- load -------------------------------------------------------------------------------------


class CapacityError(MlxdError):
    """Too much at once; later may do."""

    code = "overloaded"
    http_status = 503
    retryable = True


class QueueFull(CapacityError):
    """The model's queue is full."""

    code = "queue_full"
    http_status = 429


class RateLimited(CapacityError):
    """The client asks for more requests in a minute than it may."""

    code = "rate_limited"
    http_status = 429


class QueueTimeout(CapacityError):
    """The request waited in the queue for longer than allowed."""

    code = "queue_timeout"


class ShuttingDown(CapacityError):
    """The kernel is ending and takes no new work."""

    code = "shutting_down"


class CutOff(CapacityError):
    """A frontend sent the kernel more than it may, and its connection was ended."""

    code = "cut_off"


class InsufficientStorage(CapacityError):
    """No room is left for a picture on its way to a worker."""

    code = "insufficient_storage"


class SlowReader(CapacityError):
    """The client did not take what was sent to it."""

    code = "slow_reader"


# --- the worker's fault -----------------------------------------------------------------------


class WorkerError(MlxdError):
    """Something went wrong in a model's process."""

    code = "worker_error"


class WorkerCrashed(WorkerError):
    """The worker process ended while it had the request."""

    code = "worker_crashed"
    http_status = 502
    retryable = True


class WorkerHung(WorkerError):
    """The worker made no progress and was ended."""

    code = "worker_hung"
    http_status = 502
    retryable = True


class OutOfMemory(WorkerError):
    """The device had no memory left for the request."""

    code = "out_of_memory"
    http_status = 503
    retryable = True


class ModelUnavailable(WorkerError):
    """The model cannot be loaded: the message says why."""

    code = "model_unavailable"
    http_status = 503


class InsufficientMemory(ModelUnavailable):
    """The model needs more memory than it can get here: the message has the numbers and what would fit."""

    code = "insufficient_memory"


class EnvironmentFailed(WorkerError):
    """A worker kind's virtual environment could not be built."""

    code = "environment_failed"
    http_status = 503


# --- protocol, and start-up -------------------------------------------------------------------


class LocalProtocolError(MlxdError):
    """We broke the protocol: a bug here."""

    code = "local_protocol_error"


class RemoteProtocolError(MlxdError):
    """The peer broke the protocol."""

    code = "remote_protocol_error"
    http_status = 502


class KernelUnavailable(MlxdError):
    """No kernel answers where one was expected."""

    code = "kernel_unavailable"
    http_status = 503
    retryable = True


class ConfigError(MlxdError):
    """A setting is wrong; only at start-up."""

    code = "config_error"


class PluginError(MlxdError):
    """A plugin cannot be used; only at start-up."""

    code = "plugin_error"


def _tree(cls: type[MlxdError]) -> dict[str, type[MlxdError]]:
    found = {cls.code: cls}
    for sub in cls.__subclasses__():
        found |= _tree(sub)
    return found


# Code -> class, for all errors above.
BY_CODE = _tree(MlxdError)


def from_failed(failed: Failed) -> MlxdError:
    """The error that a failed message stands for; an unknown code becomes a plain MlxdError."""
    cls = BY_CODE.get(failed.code, MlxdError)
    return cls(failed.message, param=failed.param, retry_after_s=failed.retry_after_s)
