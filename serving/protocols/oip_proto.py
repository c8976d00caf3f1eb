"""The messages of `inference.GRPCInferenceService`: the Open Inference Protocol's, with Triton's extensions.

Names and numbers are those of the public protocol files. KServe's are a part of Triton's, but for the two about
loading, where ours have the fields of both: whoever sends one finds what it knows.
"""

from typing import Final

from serving.protocols.descriptors import Declared, Messages, Method

SERVICE: Final = "inference.GRPCInferenceService"

_PARAMETERS = "map<string, InferParameter> parameters = 4"
_CHOICES = "bool bool_param = 1; int64 int64_param = 2; string string_param = 3"
_NAMED = "string name = 1; string version = 2"
_REGION = "uint64 byte_size"

_CORE = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live = 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready = 1",
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": "bool ready = 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": f"{_NAMED}; repeated string extensions = 3",
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse": "string name = 1; repeated string versions = 2; string platform = 3;"
    "repeated ModelMetadataResponse.TensorMetadata inputs = 4;"
    "repeated ModelMetadataResponse.TensorMetadata outputs = 5",
    "ModelMetadataResponse.TensorMetadata": "string name = 1; string datatype = 2; repeated int64 shape = 3",
    "InferParameter": f"oneof parameter_choice {{{_CHOICES}; double double_param = 4; uint64 uint64_param = 5}}",
    "InferTensorContents": "repeated bool bool_contents = 1; repeated int32 int_contents = 2;"
    "repeated int64 int64_contents = 3; repeated uint32 uint_contents = 4; repeated uint64 uint64_contents = 5;"
    "repeated float fp32_contents = 6; repeated double fp64_contents = 7; repeated bytes bytes_contents = 8",
    "ModelInferRequest": f"string model_name = 1; string model_version = 2; string id = 3; {_PARAMETERS};"
    "repeated ModelInferRequest.InferInputTensor inputs = 5;"
    "repeated ModelInferRequest.InferRequestedOutputTensor outputs = 6; repeated bytes raw_input_contents = 7",
    "ModelInferRequest.InferInputTensor": "string name = 1; string datatype = 2; repeated int64 shape = 3;"
    f"{_PARAMETERS}; InferTensorContents contents = 5",
    "ModelInferRequest.InferRequestedOutputTensor": "string name = 1; map<string, InferParameter> parameters = 2",
    "ModelInferResponse": f"string model_name = 1; string model_version = 2; string id = 3; {_PARAMETERS};"
    "repeated ModelInferResponse.InferOutputTensor outputs = 5; repeated bytes raw_output_contents = 6",
    "ModelInferResponse.InferOutputTensor": "string name = 1; string datatype = 2; repeated int64 shape = 3;"
    f"{_PARAMETERS}; InferTensorContents contents = 5",
    "ModelStreamInferResponse": "string error_message = 1; ModelInferResponse infer_response = 2",
}

# Of a model's configuration only what is told of ours.
_CONFIG = {
    "ModelConfigRequest": _NAMED,
    "ModelConfigResponse": "ModelConfig config = 1",
    "ModelConfig": "string name = 1; string platform = 2; ModelVersionPolicy version_policy = 3;"
    "int32 max_batch_size = 4; repeated ModelInput input = 5; repeated ModelOutput output = 6;"
    "repeated ModelInstanceGroup instance_group = 7; string default_model_filename = 8;"
    "map<string, string> metric_tags = 10; map<string, ModelParameter> parameters = 14; string backend = 17;"
    "ModelTransactionPolicy model_transaction_policy = 19; string runtime = 25;"
    "oneof scheduling_choice {ModelDynamicBatching dynamic_batching = 11}",
    "ModelVersionPolicy": "oneof policy_choice {ModelVersionPolicy.Latest latest = 1; ModelVersionPolicy.All all = 2;"
    "ModelVersionPolicy.Specific specific = 3}",
    "ModelVersionPolicy.Latest": "uint32 num_versions = 1",
    "ModelVersionPolicy.All": "",
    "ModelVersionPolicy.Specific": "repeated int64 versions = 1",
    "ModelInput": "string name = 1; DataType data_type = 2; repeated int64 dims = 4; ModelTensorReshape reshape = 5;"
    "bool is_shape_tensor = 6; bool allow_ragged_batch = 7; bool optional = 8",
    "ModelOutput": "string name = 1; DataType data_type = 2; repeated int64 dims = 3; string label_filename = 4;"
    "ModelTensorReshape reshape = 5; bool is_shape_tensor = 6",
    "ModelTensorReshape": "repeated int64 shape = 1",
    "ModelInstanceGroup": "string name = 1; int32 count = 2; repeated int32 gpus = 3; InstanceKind kind = 4;"
    "repeated string profile = 5; bool passive = 7; string host_policy = 9",
    "ModelDynamicBatching": "repeated int32 preferred_batch_size = 1; uint64 max_queue_delay_microseconds = 2;"
    "bool preserve_ordering = 3; uint64 priority_levels = 4; uint64 default_priority_level = 5;"
    "ModelQueuePolicy default_queue_policy = 6",
    "ModelQueuePolicy": "QueueTimeout timeout_action = 1; uint64 default_timeout_microseconds = 2;"
    "bool allow_timeout_override = 3; uint32 max_queue_size = 4",
    "ModelParameter": "string string_value = 1",
    "ModelTransactionPolicy": "bool decoupled = 1",
}

_STATISTICS = {
    "ModelStatisticsRequest": _NAMED,
    "ModelStatisticsResponse": "repeated ModelStatistics model_stats = 1",
    "StatisticDuration": "uint64 count = 1; uint64 ns = 2",
    "InferStatistics": "StatisticDuration success = 1; StatisticDuration fail = 2; StatisticDuration queue = 3;"
    "StatisticDuration compute_input = 4; StatisticDuration compute_infer = 5; StatisticDuration compute_output = 6;"
    "StatisticDuration cache_hit = 7; StatisticDuration cache_miss = 8",
    "InferResponseStatistics": "StatisticDuration compute_infer = 1; StatisticDuration compute_output = 2;"
    "StatisticDuration success = 3; StatisticDuration fail = 4; StatisticDuration empty_response = 5;"
    "StatisticDuration cancel = 6",
    "InferBatchStatistics": "uint64 batch_size = 1; StatisticDuration compute_input = 2;"
    "StatisticDuration compute_infer = 3; StatisticDuration compute_output = 4",
    "MemoryUsage": "string type = 1; int64 id = 2; uint64 byte_size = 3",
    "ModelStatistics": f"{_NAMED}; uint64 last_inference = 3; uint64 inference_count = 4; uint64 execution_count = 5;"
    "InferStatistics inference_stats = 6; repeated InferBatchStatistics batch_stats = 7;"
    "repeated MemoryUsage memory_usage = 8; map<string, InferResponseStatistics> response_stats = 9",
}

_REPOSITORY = {
    "ModelRepositoryParameter": f"oneof parameter_choice {{{_CHOICES}; bytes bytes_param = 4}}",
    "RepositoryIndexRequest": "string repository_name = 1; bool ready = 2",
    "RepositoryIndexResponse": "repeated RepositoryIndexResponse.ModelIndex models = 1",
    "RepositoryIndexResponse.ModelIndex": f"{_NAMED}; string state = 3; string reason = 4",
    # KServe has the model's name at 1.
    "RepositoryModelLoadRequest": "string repository_name = 1; string model_name = 2;"
    "map<string, ModelRepositoryParameter> parameters = 3",
    "RepositoryModelLoadResponse": "string model_name = 1; bool isLoaded = 2",
    "RepositoryModelUnloadRequest": "string repository_name = 1; string model_name = 2;"
    "map<string, ModelRepositoryParameter> parameters = 3",
    "RepositoryModelUnloadResponse": "string model_name = 1; bool isUnloaded = 2",
}

_SHARED_MEMORY = {
    "SystemSharedMemoryStatusRequest": "string name = 1",
    "SystemSharedMemoryStatusResponse": "map<string, SystemSharedMemoryStatusResponse.RegionStatus> regions = 1",
    "SystemSharedMemoryStatusResponse.RegionStatus": "string name = 1; string key = 2; uint64 offset = 3;"
    f"{_REGION} = 4",
    "SystemSharedMemoryRegisterRequest": f"string name = 1; string key = 2; uint64 offset = 3; {_REGION} = 4",
    "SystemSharedMemoryRegisterResponse": "",
    "SystemSharedMemoryUnregisterRequest": "string name = 1",
    "SystemSharedMemoryUnregisterResponse": "",
    "CudaSharedMemoryStatusRequest": "string name = 1",
    "CudaSharedMemoryStatusResponse": "map<string, CudaSharedMemoryStatusResponse.RegionStatus> regions = 1",
    "CudaSharedMemoryStatusResponse.RegionStatus": f"string name = 1; uint64 device_id = 2; {_REGION} = 3",
    "CudaSharedMemoryRegisterRequest": f"string name = 1; bytes raw_handle = 2; int64 device_id = 3; {_REGION} = 4",
    "CudaSharedMemoryRegisterResponse": "",
    "CudaSharedMemoryUnregisterRequest": "string name = 1",
    "CudaSharedMemoryUnregisterResponse": "",
}

_SETTINGS = {
    "TraceSettingRequest": "map<string, TraceSettingRequest.SettingValue> settings = 1; string model_name = 2",
    "TraceSettingRequest.SettingValue": "repeated string value = 1",
    "TraceSettingResponse": "map<string, TraceSettingResponse.SettingValue> settings = 1",
    "TraceSettingResponse.SettingValue": "repeated string value = 1",
    "LogSettingsRequest": "map<string, LogSettingsRequest.SettingValue> settings = 1",
    "LogSettingsRequest.SettingValue": "oneof parameter_choice {bool bool_param = 1; uint32 uint32_param = 2;"
    "string string_param = 3}",
    "LogSettingsResponse": "map<string, LogSettingsResponse.SettingValue> settings = 1",
    "LogSettingsResponse.SettingValue": "oneof parameter_choice {bool bool_param = 1; uint32 uint32_param = 2;"
    "string string_param = 3}",
}

_ENUMS = {
    "DataType": (
        "TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64", "TYPE_INT8",
        "TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_STRING", "TYPE_BF16",
    ),
    "InstanceKind": ("KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"),
    "QueueTimeout": ("REJECT", "DELAY"),
}  # fmt: skip

METHODS: Final = (
    *(Method(name, f"{name}Request", f"{name}Response") for name in (
        "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    )),
    Method("ModelStreamInfer", "ModelInferRequest", "ModelStreamInferResponse", is_stream=True),
    *(Method(name, f"{name}Request", f"{name}Response") for name in (
        "ModelConfig", "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
        "SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister",
        "CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister", "TraceSetting",
        "LogSettings",
    )),
)  # fmt: skip


def declare_messages() -> Messages:
    """The classes of all messages; takes a few milliseconds."""
    messages = {**_CORE, **_CONFIG, **_STATISTICS, **_REPOSITORY, **_SHARED_MEMORY, **_SETTINGS}
    services = {"GRPCInferenceService": METHODS}
    return Messages(Declared("grpc_service.proto", "inference", messages, _ENUMS, services))
