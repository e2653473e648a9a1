import { failure, ramAddress, type SbiCall, type SbiExtension, SUCCESS, success } from './types.ts';

/** Most bytes moved by one call; a call may move fewer than it was asked to. */
const MAX_BYTES = 64 * 1024;

/** Debug console (SBI 2.0, chapter 12). */
export const DBCN: SbiExtension = {
  id: 0x4442_434e,
  name: 'DBCN',
  functions: [
    {
      id: 0,
      name: 'console_write',
      handle: (call) => {
        const area = buffer(call);
        if (area === undefined) return failure('INVALID_PARAM');
        const bytes = new Uint8Array(area.length);
        call.platform.ram.read(area.gpa, bytes);
        return success(BigInt(call.platform.consoleWrite(bytes)));
      },
    },
    {
      id: 1,
      name: 'console_read',
      handle: (call) => {
        const area = buffer(call);
        if (area === undefined) return failure('INVALID_PARAM');
        const bytes = call.platform.consoleRead(area.length);
        call.platform.ram.write(area.gpa, bytes);
        return success(BigInt(bytes.length));
      },
    },
    {
      id: 2,
      name: 'console_write_byte',
      handle: ({ args: [byte], platform }) => {
        platform.consoleWrite(Uint8Array.of(Number(byte & 0xffn)));
        return SUCCESS;
      },
    },
  ],
};

/** The caller's buffer: all of it has to be RAM, as much of it is used as one call moves. */
function buffer({ args: [length, low, high], platform }: SbiCall): { gpa: number; length: number } | undefined {
  if (length > BigInt(platform.ram.size)) return undefined;
  const gpa = ramAddress(platform, low, high, Number(length));
  return gpa === undefined ? undefined : { gpa, length: Math.min(Number(length), MAX_BYTES) };
}
