"""The messages of gRPC's own two services, health and reflection, as its public protocol files declare them.

Of health, `List` is left out: who serves one model has nothing to list.
"""

from typing import Final

from serving.protocols.descriptors import Declared, Method

HEALTH: Final = "grpc.health.v1.Health"
# The second version has the messages of the first under another name.
REFLECTION: Final = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)

HEALTH_FILE: Final = Declared(
    "grpc/health/v1/health.proto",
    "grpc.health.v1",
    {
        "HealthCheckRequest": "string service = 1",
        "HealthCheckResponse": "HealthCheckResponse.ServingStatus status = 1",
    },
    {"HealthCheckResponse.ServingStatus": ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")},
    {
        "Health": (
            Method("Check", "HealthCheckRequest", "HealthCheckResponse"),
            Method("Watch", "HealthCheckRequest", "HealthCheckResponse", is_told_on=True),
        )
    },
)

_ASKED = (
    "string file_by_filename = 3; string file_containing_symbol = 4; ExtensionRequest file_containing_extension = 5;"
    "string all_extension_numbers_of_type = 6; string list_services = 7"
)
_TOLD = (
    "FileDescriptorResponse file_descriptor_response = 4;"
    "ExtensionNumberResponse all_extension_numbers_response = 5;"
    "ListServiceResponse list_services_response = 6; ErrorResponse error_response = 7"
)
REFLECTION_FILE: Final = Declared(
    "grpc/reflection/v1alpha/reflection.proto",
    "grpc.reflection.v1alpha",
    {
        "ServerReflectionRequest": f"string host = 1; oneof message_request {{{_ASKED}}}",
        "ExtensionRequest": "string containing_type = 1; int32 extension_number = 2",
        "ServerReflectionResponse": "string valid_host = 1; ServerReflectionRequest original_request = 2;"
        f"oneof message_response {{{_TOLD}}}",
        "FileDescriptorResponse": "repeated bytes file_descriptor_proto = 1",
        "ExtensionNumberResponse": "string base_type_name = 1; repeated int32 extension_number = 2",
        "ListServiceResponse": "repeated ServiceResponse service = 1",
        "ServiceResponse": "string name = 1",
        "ErrorResponse": "int32 error_code = 1; string error_message = 2",
    },
    {},
    {
        "ServerReflection": (
            Method("ServerReflectionInfo", "ServerReflectionRequest", "ServerReflectionResponse", is_stream=True),
        )
    },
)
