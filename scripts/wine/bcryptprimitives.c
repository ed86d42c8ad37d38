/* Windows 10 has this DLL and Go's runtime wants it for its random numbers;
   Wine 8 lacks it. SystemFunction036 of advapi32 is RtlGenRandom. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
	return SystemFunction036(data, (ULONG)size);
}
