// A device that is not there: tensors that say "cuda" or "mps", whose memory is the host's.
//
// torch asks a device for three things, and gets them here: a guard, hooks, and kernels. Every
// operation that reaches the device goes through `on_host`, which tells tests/accelerator.py about
// it, lets the CPU's kernel do it on the same memory, and labels what comes out.

#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/detail/MPSHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

using namespace c10;
using at::Tensor;

enum Copy { NONE, TO_DEVICE, TO_HOST };             // that the host waits for
enum Answer { GOOD, NO_KERNEL, NOT_DETERMINISTIC };  // what the other side thinks of an operation
using Ask = int (*)(const char* name, const char* overload, int copy);

static DeviceType pretended = DeviceType::CPU;  // the CPU stands for no pretence
static Ask ask = nullptr;

static bool is_there(const Tensor& t) { return t.defined() && t.device().type() == pretended; }

static void label(const Storage& storage, DeviceType type) {
  Device device(type, type == DeviceType::CPU ? -1 : 0);
  storage.unsafeGetStorageImpl()->_mutable_data_ptr_no_checks().unsafe_set_device(device);
}

static void shape_like(const Tensor& t, const Tensor& model) {
  t.unsafeGetTensorImpl()->set_storage_offset(model.storage_offset());
  t.unsafeGetTensorImpl()->set_sizes_and_strides(model.sizes(), model.strides());
}

/// The memory of `t` as a tensor of a device of this type.
static Tensor labelled(const Tensor& t, DeviceType type) {
  label(t.storage(), type);  // a new tensor is where its storage is
  auto key = type == DeviceType::CPU   ? DispatchKey::CPU
             : type == DeviceType::MPS ? DispatchKey::MPS
                                       : DispatchKey::CUDA;
  auto twin = at::detail::make_tensor<TensorImpl>(
      Storage(t.storage()), DispatchKeySet(key), t.dtype());
  shape_like(twin, t);
  return twin;
}

/// An argument or a result with f(tensor) in the place of each tensor in it.
template <class F>
static IValue with_each(const IValue& value, F f) {
  if (value.isTensor()) return f(value.toTensor());
  if (value.isTensorList()) {
    List<Tensor> out;
    for (const Tensor& t : value.toTensorVector()) out.push_back(f(t));
    return out;
  }
  if (!value.isList() || value.toListRef().empty()) return value;
  List<std::optional<Tensor>> out;  // the indices of x[:, i]
  for (const IValue& item : value.toListRef()) {
    if (!item.isTensor() && !item.isNone()) return value;
    out.push_back(item.isNone() ? std::nullopt : std::optional<Tensor>(f(item.toTensor())));
  }
  return out;
}

/// The host's twins of the tensors on the device, whose memory says CPU as long as this lives.
struct Twins {
  std::vector<std::pair<Tensor, Tensor>> pairs;  // (on the device, on the host)
  std::vector<Storage> storages;

  void lend(const Storage& storage) {
    if (storage.device_type() != pretended) return;
    label(storage, DeviceType::CPU);
    storages.push_back(storage);
  }

  Tensor of(const Tensor& t) {
    if (!is_there(t)) return t;
    for (auto& [there, here] : pairs)
      if (there.is_same(t)) return here;
    lend(t.storage());
    pairs.emplace_back(t, labelled(t, DeviceType::CPU));
    return pairs.back().second;
  }

  void take_over() {  // what resize_, transpose_ and set_ did
    for (auto& [there, here] : pairs) {
      if (!there.storage().is_alias_of(here.storage())) {
        for (auto& t : {here, there}) label(t.storage(), pretended);
        there.unsafeGetTensorImpl()->set_storage_keep_dtype(here.storage());
      }
      if (there.sizes() != here.sizes() || there.strides() != here.strides() ||
          there.storage_offset() != here.storage_offset())
        shape_like(there, here);
    }
  }

  ~Twins() {
    for (auto& storage : storages) label(storage, pretended);
  }
};

static void on_host(const OperatorHandle& op, torch::jit::Stack* stack) {
  TORCH_CHECK(pretended != DeviceType::CPU, "a tensor has outlived the device that was pretended");
  const std::string& name = op.schema().name();
  const auto first = stack->size() - op.schema().arguments().size();
  const auto arguments = [&](auto f) {
    for (auto i = first; i < stack->size(); i++) (*stack)[i] = with_each((*stack)[i], f);
  };

  std::vector<Tensor> strangers;
  bool here = false, there = false;  // a number on the CPU (0-dim) may go with any device
  arguments([&](const Tensor& t) {
    there |= is_there(t);
    if (t.defined() && !is_there(t)) strangers.push_back(t), here |= t.dim() > 0;
    return t;
  });
  const bool copies = name == "aten::copy_";  // (self, source, non_blocking)
  const bool self_there = (*stack)[first].isTensor() && is_there((*stack)[first].toTensor());
  const bool indexes = self_there && name.find("index") != std::string::npos;
  TORCH_CHECK(!here || !there || copies || indexes,
              "Expected all tensors to be on the same device, but found at least two devices, ",
              Device(pretended, 0), " and cpu! (", name, ")");

  Copy copy = NONE;
  if (copies && !strangers.empty() && !(*stack)[first + 2].toBool())
    copy = self_there ? TO_DEVICE : TO_HOST;
  const std::string& overload = op.schema().overload_name();
  const int answer = ask(name.c_str(), overload.c_str(), copy);
  TORCH_CHECK_NOT_IMPLEMENTED(
      answer != NO_KERNEL, "The operator '", name, overload.empty() ? "" : ".", overload,
      "' is not currently implemented for the MPS device.");
  if (answer == NOT_DETERMINISTIC) at::globalContext().alertNotDeterministic(name + " on CUDA");

  Twins twins;
  arguments([&](const Tensor& t) { return twins.of(t); });
  for (auto i = first; i < stack->size(); i++) {
    if ((*stack)[i].isDevice()) (*stack)[i] = Device(DeviceType::CPU);
    if ((*stack)[i].isStorage()) twins.lend((*stack)[i].toStorage());
  }
  {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    op.redispatchBoxed(DispatchKeySet(DispatchKey::CPU), stack);
  }
  twins.take_over();
  const auto back = [&](const Tensor& t) {
    if (!t.defined()) return t;
    for (auto& pair : twins.pairs)
      if (pair.second.is_same(t)) return pair.first;
    for (auto& stranger : strangers)
      if (stranger.is_same(t)) return t;
    const bool wide = t.scalar_type() == at::kDouble || t.scalar_type() == at::kComplexDouble;
    TORCH_CHECK_TYPE(
        !wide || pretended != DeviceType::MPS,
        "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support "
        "float64. Please use float32 instead.");
    return labelled(t, pretended);
  };
  for (auto i = stack->size() - op.schema().returns().size(); i < stack->size(); i++)
    (*stack)[i] = with_each((*stack)[i], back);
}

template <DeviceType D>
struct Guard final : c10::impl::NoOpDeviceGuardImpl<D> {  // one device, and one stream
  Device getDevice() const override { return Device(D, 0); }
  Device exchangeDevice(Device) const override { return Device(D, 0); }
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, Device(D, 0)); }
  Stream exchangeStream(Stream) const noexcept override { return getStream(getDevice()); }
  void record(void**, const Stream&, const DeviceIndex, const EventFlag) const override {}
  void block(void*, const Stream&) const override {}
};

// Whether there is a device, and which. `override` is left out: torch's versions differ.
template <class Base, DeviceType D>
struct Hooks final : Base {
  bool hasMPS() const { return pretended == D; }
  bool hasCUDA() const { return pretended == D; }
  bool isBuilt() const { return pretended == D; }
  bool isAvailable() const { return pretended == D; }
  bool isOnMacOSorNewer(unsigned, unsigned) const { return true; }
  bool hasPrimaryContext(DeviceIndex) const { return pretended == D; }
  DeviceIndex deviceCount() const { return 1; }
  void init() const {}
  Allocator* getPinnedMemoryAllocator() const { return GetCPUAllocator(); }
};

/// torch makes its hooks once and may have done so already: these take the place of what it made,
/// an object without any data.
template <DeviceType D, class Base>
static void hook(const Base& made) {
  static_assert(sizeof(Hooks<Base, D>) == sizeof(Base));
  new (const_cast<Base*>(&made)) Hooks<Base, D>;
}

extern "C" void pretend(int type, Ask asked) {
  hook<DeviceType::MPS>(at::detail::getMPSHooks());
  hook<DeviceType::CUDA>(at::detail::getCUDAHooks());
  pretended = static_cast<DeviceType>(type);
  ask = asked;
}

static auto kernel() { return torch::CppFunction::makeFromBoxedFunction<&on_host>(); }

// Beside the fallback, operations which torch composes of others for a CPU, but not for a device.
static void more(torch::Library& library) {
  for (auto name : {"copy_", "convolution", "convolution_backward"}) library.impl(name, kernel());
}

TORCH_LIBRARY_IMPL(_, MPS, library) { library.fallback(kernel()); }
TORCH_LIBRARY_IMPL(_, CUDA, library) { library.fallback(kernel()); }
TORCH_LIBRARY_IMPL(aten, MPS, library) { more(library); }
TORCH_LIBRARY_IMPL(aten, CUDA, library) { more(library); }
C10_REGISTER_GUARD_IMPL(MPS, Guard<DeviceType::MPS>)
C10_REGISTER_GUARD_IMPL(CUDA, Guard<DeviceType::CUDA>)
