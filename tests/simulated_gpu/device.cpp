// A CUDA device that the CPU computes.
//
// Tensors with the device "cuda" live in ordinary memory. Every operator of theirs that torch has
// for CUDA is replaced by torch's own for the CPU, after the check that a GPU makes: all tensors
// are on one device. So a tensor that was left on the CPU is an error here, too. Not simulated:
// asynchronous work, pinned memory, and all speed.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <set>
#include <unordered_map>

namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::Stream;

int devices = 1;
thread_local DeviceIndex current = 0;

// ---- memory: ordinary, counted, and limited -------------------------------------------------

std::atomic<int64_t> allocated{0}, peak{0}, limit{INT64_MAX};
std::mutex lock;
std::unordered_map<void*, int64_t> blocks;

void release(void* pointer) {
  std::lock_guard<std::mutex> held(lock);
  allocated -= blocks[pointer];
  blocks.erase(pointer);
  free(pointer);
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t size) override {
    Device device(DeviceType::CUDA, current);
    if (!size) return {nullptr, device};
    std::lock_guard<std::mutex> held(lock);
    if (allocated + static_cast<int64_t>(size) > limit) {
      throw c10::OutOfMemoryError(
          {__func__, __FILE__, __LINE__},
          "CUDA out of memory. Tried to allocate " + std::to_string(size >> 20) + " MiB.");
    }
    void* pointer = malloc(size);
    blocks[pointer] = size;
    allocated += size;
    if (allocated > peak) peak = allocated.load();
    return {pointer, pointer, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t size) const override { memcpy(to, from, size); }
};
Memory memory;

// ---- what torch asks about devices and streams ----------------------------------------------

DeviceIndex exchange(DeviceIndex index) {
  auto before = current;
  if (index >= 0) current = index;
  return before;
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device d) const override { return {type(), exchange(d.index())}; }
  Device getDevice() const override { return {type(), current}; }
  void setDevice(Device d) const override { exchange(d.index()); }
  void uncheckedSetDevice(Device d) const noexcept override { exchange(d.index()); }
  DeviceIndex deviceCount() const noexcept override { return devices; }
  Stream getStream(Device d) const override { return Stream(Stream::DEFAULT, d); }
  Stream getDefaultStream(Device d) const override { return Stream(Stream::DEFAULT, d); }
  Stream exchangeStream(Stream stream) const override { return stream; }
  void record(void**, const Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void recordDataPtrOnStream(const c10::DataPtr&, const Stream&) const override {}
};
Guard guard;

struct Hooks final : at::CUDAHooksInterface {
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return devices > 0; }
  bool hasCUDA() const override { return devices > 0; }
  bool hasCuDNN() const override { return false; }
  bool compiledWithCuDNN() const override { return false; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool isPinnedPtr(const void*) const override { return false; }
  int getNumGPUs() const override { return devices; }
  DeviceIndex deviceCount() const override { return devices; }
  DeviceIndex current_device() const override { return current; }
  DeviceIndex getCurrentDevice() const override { return current; }
  void setCurrentDevice(DeviceIndex index) const override { exchange(index); }
  DeviceIndex exchangeDevice(DeviceIndex index) const override { return exchange(index); }
  DeviceIndex maybeExchangeDevice(DeviceIndex index) const override { return exchange(index); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
  c10::Allocator* getCUDADeviceAllocator() const override { return &memory; }
  void deviceSynchronize(DeviceIndex) const override {}
  const at::Generator& getDefaultGenerator(DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};
Hooks hooks;

// ---- operators ------------------------------------------------------------------------------

const c10::DispatchKeySet CUDA(c10::DispatchKey::CUDA);

Device chosen(std::optional<Device> device) {
  if (!device || !device->has_index()) return {DeviceType::CUDA, current};
  TORCH_CHECK(device->index() < devices, "CUDA error: invalid device ordinal");
  return *device;
}

at::Tensor empty_strided(
    c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, std::optional<Device> device, std::optional<bool>) {
  c10::DeviceGuard on(chosen(device));
  auto type = c10::dtype_or_default(dtype);
  return at::detail::empty_strided_generic(size, stride, &memory, CUDA, type);
}

at::Tensor empty(
    c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  c10::DeviceGuard on(chosen(device));
  auto type = c10::dtype_or_default(dtype);
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &memory, CUDA, type, format);
}

// The same memory, as a tensor of the CPU.
at::Tensor on_cpu(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return tensor;
  auto* start = static_cast<char*>(tensor.storage().mutable_data());
  if (start) start += tensor.storage_offset() * tensor.itemsize();
  auto options = at::TensorOptions().dtype(tensor.dtype()).device(at::kCPU);
  auto keep = [owner = tensor.detach()](void*) {};
  return at::from_blob(start, tensor.sizes(), tensor.strides(), keep, options);
}

at::Tensor& copy_(at::Tensor& to, const at::Tensor& from, bool) {
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

const at::Tensor& resize_(
    const at::Tensor& tensor, c10::SymIntArrayRef size, std::optional<at::MemoryFormat> format) {
  if (tensor.sizes() == C10_AS_INTARRAYREF_SLOW(size)) return tensor;
  auto* impl = tensor.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(C10_AS_INTARRAYREF_SLOW(size));
  auto storage = tensor.storage();
  const size_t needed = (tensor.storage_offset() + tensor.numel()) * tensor.itemsize();
  if (storage.nbytes() < needed) {
    auto larger = memory.allocate(needed);
    if (storage.nbytes()) memcpy(larger.get(), storage.data(), storage.nbytes());
    storage.set_data_ptr_noswap(std::move(larger));
    storage.set_nbytes(needed);
  }
  if (format && *format != at::MemoryFormat::Preserve) impl->empty_tensor_restride(*format);
  return tensor;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar item(const at::Tensor& tensor) { return on_cpu(tensor).item(); }

// Operators that a GPU lets index its tensors by positions on the CPU.
const std::set<std::string> MIXED = {
    "aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"};

// Throws where a GPU would: a tensor (more than one number) is on another device than the others.
std::optional<Device> device_of(const std::string& name, c10::ArrayRef<c10::IValue> arguments) {
  std::optional<Device> gpu, other;
  auto look = [&](const at::Tensor& tensor, bool is_position = false) {
    if (!tensor.defined() || (tensor.is_cpu() && is_position)) return;
    const Device device = tensor.device();
    if (device.is_cuda() && !gpu) gpu = device;
    if ((device.is_cuda() && device != *gpu) || (device.is_cpu() && tensor.dim())) other = device;
  };
  for (const auto& argument : arguments) {
    if (argument.isTensor()) look(argument.toTensor());
    if (argument.isTensorList())
      for (const at::Tensor& tensor : argument.toTensorList()) look(tensor);
    if (argument.isOptionalTensorList())
      for (const std::optional<at::Tensor>& tensor : argument.toOptionalTensorList())
        if (tensor) look(*tensor, MIXED.count(name));
  }
  TORCH_CHECK(
      !gpu || !other,
      "Expected all tensors to be on the same device, but found at least two devices, ", *gpu,
      " and ", *other, "! (", name, ")");
  return gpu;
}

void convert(torch::jit::Stack* stack, size_t count, at::ScalarType from, at::ScalarType to) {
  for (size_t place = stack->size() - count; place < stack->size(); ++place) {
    auto& value = (*stack)[place];
    if (!value.isTensor() || !value.toTensor().defined()) continue;
    if (value.toTensor().scalar_type() == from) value = value.toTensor().to(to);
  }
}

void computed_by_cpu(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const auto& schema = operation.schema();
  const auto count = schema.returns().size();
  auto arguments = torch::jit::last(*stack, schema.arguments().size());
  const auto gpu = device_of(schema.name(), arguments);
  if (schema.name() == "aten::native_batch_norm") {  // changes its statistics, and does not say so
    const auto first = stack->size() - schema.arguments().size();
    for (auto place : {first + 3, first + 4}) {
      auto& statistics = (*stack)[place];
      if (statistics.isTensor()) statistics = on_cpu(statistics.toTensor());
    }
  }
  // A CPU takes a minute for a convolution of halves
  const bool slow = schema.name().find("aten::convolution") == 0 &&
      arguments[0].toTensor().scalar_type() == at::kHalf;
  if (slow) convert(stack, schema.arguments().size(), at::kHalf, at::kFloat);
  at::native::cpu_fallback(operation, stack);
  if (slow) convert(stack, count, at::kFloat, at::kHalf);
  if (!gpu) return;
  for (size_t place = stack->size() - count; place < stack->size(); ++place) {
    auto& value = (*stack)[place];  // left on the CPU if a plain number was the first argument
    if (value.isTensor() && value.toTensor().defined()) value = value.toTensor().to(*gpu);
  }
}

std::unique_ptr<torch::Library> library;

void replace(int count, const std::vector<std::string>& names) {
  devices = count;
  // torch keeps the object that it has created first: it gets the methods of ours
  auto& first = const_cast<at::CUDAHooksInterface&>(at::detail::getCUDAHooks());
  *reinterpret_cast<void**>(&first) = *reinterpret_cast<void**>(&hooks);
  c10::SetAllocator(DeviceType::CUDA, &memory, 255);
  auto type = static_cast<size_t>(DeviceType::CUDA);
  c10::impl::device_guard_impl_registry[type].store(&guard);
  library = std::make_unique<torch::Library>(
      torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  for (const auto& name : names) {
    library->impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&computed_by_cpu>());
  }
  library->impl("empty_strided", &empty_strided);
  library->impl("empty.memory_format", &empty);
  library->impl("copy_", &copy_);
  library->impl("_copy_from", &copy_from);
  library->impl("_copy_from_and_resize", &copy_from_and_resize);
  library->impl("_local_scalar_dense", &item);
  library->impl("resize_", &resize_);
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("replace", &replace);
  module.def("exchange", &exchange);
  module.def("allocated", [] { return allocated.load(); });
  module.def("peak", [] { return peak.load(); });
  module.def("reset_peak", [] { peak = allocated.load(); });
  module.def("set_limit", [](int64_t bytes) { limit = bytes; });
}
