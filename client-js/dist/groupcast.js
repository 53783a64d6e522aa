// Groupcast client 0.1.0, MIT OR Apache-2.0. Built from client-js/src; do not edit.
var c=class n extends Error{constructor(t,e,s=!1){super(e),this.name="GroupcastError",this.code=t,this.retry=s}static from({code:t,message:e,retry:s}){return new n(
t,e,s)}},m=class extends c{constructor(t="not signed in"){super("unauthorized",t),this.name="UnauthorizedError"}};var jt=/^(?!\.+$)[\w.-]{1,99}$/;function At(n){return typeof n=="string"?JSON.stringify(n.slice(0,80)):typeof n=="object"&&n?"an object":String(n)}var b=(n,t,e)=>{
throw new c(n,`${t}; got ${At(e)}`)};function D(n){(typeof n!="string"||!jt.test(n))&&b("illegal_name","a group name is 1 to 99 of A-Z a-z 0-9 _ . - and not dot\
s alone",n)}function et(n){if(n==null)return;let{epoch:t,offset:e}=n;return(typeof t!="string"||!Number.isSafeInteger(e)||e<0)&&b("bad_request","`since` is { ep\
och: string, offset: integer from 0 }",n),{epoch:t,offset:e}}var Nt=n=>n==="*"||n.startsWith("$");function st(n){(typeof n?.type!="string"||Array.isArray(n))&&b(
"invalid_event","an event is an object with a string `type`",n),Nt(n.type)&&b("invalid_event","types that begin with `$`, and `*`, are reserved",n.type)}function F(n,t){
(typeof t!="string"||t==="")&&b("bad_request",`${n} is a string`,t)}function y(n){(typeof n!="number"||!(n>=0))&&b("bad_request","`timeout` is milliseconds, fro\
m 0",n)}var K=n=>typeof n=="string"&&/^[!-~]+$/.test(n)&&!/^(<[a-z!]+[>/]|[{["])/i.test(n);function X(n){if(n==null)return;let t=typeof n=="string"?n.trim():n;return K(
t)||b("bad_token","a token is printable, without spaces",n),t}var v=class{#e;attempt=0;constructor(t){this.#e={min:250,base:1e3,max:2e4,stableAfter:1e4,...t}}next(t,e=0){let{min:s,base:i,max:o}=this.#e,r=Math.min(o,i*2**this.
attempt),h=Math.max(e,this.attempt===0?t??r:r);return this.attempt+=1,Math.round(s+Math.random()*h)}ended(t){let e=t>=this.#e.stableAfter;return e&&(this.attempt=
0),e}reset(){this.attempt=0}};var it=Date.now(),nt=performance.now(),ot=0;function l(){let n=Date.now(),t=performance.now();return ot+=Math.max(0,n-it,t-nt),it=n,nt=t,ot}function _(n){if(typeof setImmediate=="function")return setImmediate(n);if(typeof MessageChannel!="function")return setTimeout(n);let{port1:t,port2:e}=new MessageChannel;
t.onmessage=()=>{t.close(),n()},e.postMessage(0)}var E=2**31-1,H=n=>(n.catch(()=>{}),n);function k(){let n={};return n.promise=new Promise((t,e)=>Object.assign(n,{resolve:t,reject:e})),H(n.promise),n}var Y=n=>H(
Promise.reject(n));function T(n,t,e){let s,i=new Promise((o,r)=>{let h=()=>new c("timeout",`${e} within ${t} ms; still trying`,!0);s=setTimeout(()=>r(h()),Math.
min(t,E))});return H(Promise.race([n,i]).finally(()=>clearTimeout(s)))}function g(n,t){return n?.aborted&&t(),n?.addEventListener("abort",t,{once:!0}),()=>n?.removeEventListener(
"abort",t)}var S=class extends Promise{static get[Symbol.species](){return Promise}then(...t){return this.awaited=!0,super.then(...t)}guard(t){let e=s=>_(()=>this.
awaited||t(s));return Promise.prototype.then.call(this,void 0,e),this}};var $=class{#e=null;#s=[];hold(){if(this.#e)return;let t=[];this.#e=t,_(()=>this.#e===t&&this.#t())}run(t){this.#e?this.#e.push(t):t()}drain(){for(;this.#e;)this.#t()}clear(){
this.#e=null,this.#s.length=0}#t(){let t=this.#e;for(this.#s=t,this.#e=null;t.length&&!this.#e;)t.shift()();this.#e?.push(...t)}};var Ot={frames_per_second:50,frames_burst:200},rt=.8,j=class{#e;#s;#t;window;begin(t){let{frames_per_second:e,frames_burst:s}={...Ot,...t};this.#e=e*rt/1e3,this.
window=Math.max(1,Math.floor(s*rt)),this.#s=this.window,this.#t=l()}spend(){this.#s-=1}delay(){let t=l();return this.#s=Math.min(this.window,this.#s+(t-this.#t)*
this.#e),this.#t=t,this.#s>=1?0:Math.ceil((1-this.#s)/this.#e)}};var ht="groupcast.v1.json",ct="groupcast-js/0.1.0";var at=[4413,1009],It=[1003,1007,1008,1009];function lt(n){return!(n>=4400&&n<4500)&&!It.includes(n)}function ut(n){try{let{reason:t,retry_ms:e}=JSON.parse(n);return{
reason:typeof t=="string"?t:n,retryMs:Number.isFinite(e)&&e>=0?e:void 0}}catch{return{reason:n,retryMs:void 0}}}var Bt=new TextEncoder;function w(n){return Bt.encode(
n).length}function ft(n,t){let e=t-64,s=[],i=1/0;for(let o of n){let r=w(JSON.stringify(o))+1;(i+r>e||s.at(-1).length===1024)&&(s.push([]),i=0),s.at(-1).push(o),
i+=r}return s}function dt(n){let t=new URL(n,globalThis.location?.href);return t.protocol=t.protocol.replace(/^http/,"ws"),t.hash="",t.href}var Z=()=>5e3+Math.random()*1e4,Rt=3e4,A=class{#e;#s;#t;#i=0;#n;constructor(t,e){this.#e=t,this.#s=e}accepted(t){this.#i=l(),this.#n=this.#e.accepted(t),this.#r(
this.#n)}stop(){clearTimeout(this.#t)}due(){let t=l()-this.#i,e=Math.min(this.#n??1/0,Rt)-t;e>0&&this.#e.renewable?this.#r(e):this.#o()}async#o(){if(!this.#e.renewable){
let e="the token runs out and there is no getToken; call setToken";return this.#s.report(new c("unauthorized",e))}let t=this.#s.session();try{let e=await this.#e.
renew("expiring");this.#s.session()===t&&this.#s.live()&&this.present(e)}catch(e){if(this.#s.session()!==t||e.code==="closed")return;if(e instanceof m)return this.#s.
signedOut(e);this.#r(Z()),this.#s.report(e)}}present(t){this.#s.ask({type:"auth",token:t},e=>{e.type==="error"?this.#s.report(c.from(e)):this.accepted(e.expires_in)})}#r(t){
clearTimeout(this.#t),!(t===void 0||!this.#e.renewable)&&(this.#t=setTimeout(()=>this.#o(),Math.min(t,E)))}};var V=2500,N=class{#e;#s;#t;#i=l();#n;#o=!1;#r;welcome=null;constructor(t,e,s,i,o){let r=new t(e,ht);this.#e=r,this.#s=o,this.#n=this.#i+i,this.#h(),r.onopen=()=>this.
send(s()),r.onmessage=({data:h})=>this.#a(h),r.onclose=({code:h,reason:a})=>this.#l(h,a),r.onerror=()=>{}}send(t){return!this.check()||this.#e.readyState!==1?!1:
(this.#e.send(typeof t=="string"?t:JSON.stringify(t)),!0)}check(){return this.#s?l()<=this.#n?!0:(this.#l(1006,"no frame arrived for too long",!0),!1):!1}probe(){
if(!this.check()||this.#o)return;this.#o=!0;let t=this.welcome?l():this.#i;this.#n=Math.min(this.#n,t+V),this.welcome&&this.send({type:"ping"}),this.check()&&this.#h()}end(t=1e3){
this.#f();try{this.#e.close(t)}catch{this.#e.close()}}#a(t){if(!this.#s)return;let e=this.#o;this.welcome&&(this.#n=l()+this.welcome.ping_ms+1e4,this.#o=!1);let s;
try{s=JSON.parse(t)}catch{return}if(typeof s?.type=="string"){if(s.type==="ping")return void this.send({type:"pong"});if(!(s.type==="pong"||e&&s.code==="bad_req\
uest"&&s.id===void 0)){if(this.welcome)return void this.#s.frame(s);s.type==="welcome"&&this.#c(s)}}}#c(t){this.welcome=t,this.#o=!1,this.#r=l(),this.#n=this.#r+
t.ping_ms+1e4,this.#h(),this.#s.welcome(t)}#h(){clearTimeout(this.#t);let t=Math.max(0,this.#n-l())+1;this.#t=setTimeout(()=>this.check()&&this.#h(),t)}#f(){let t=this.#s;
return this.#s=null,clearTimeout(this.#t),this.#e.onopen=this.#e.onmessage=this.#e.onclose=null,t}#l(t,e,s=!1){let i=this.#f();if(!i)return;s&&this.#e.close();let o=this.#r===
void 0?0:l()-this.#r;i.lost({code:t,...ut(e),silent:s,probed:s&&this.#o,uptimeMs:o})}};var Ct=1e4,mt=n=>new c("bad_token",n,!0);async function Lt(n){let t=n?.token??n;if(t===null)throw new m("getToken gave null: nobody is signed in");if(typeof t?.
text=="function"){let{status:s}=t;if(s===401||s===403)throw new m(`the site answered ${s}`);if(!t.ok)throw mt(`getToken: the site answered ${s}`);t=await t.text(),
/^\s*{/.test(t)&&(t=JSON.parse(t).token)}let e=typeof t=="string"?t.trim():t;if(K(e))return e;throw/<(form|input)\b/i.test(e)?new m("getToken gave a page with a\
 form"):mt(`getToken gave no token: ${String(e).slice(0,80)}`)}var I=class{#e;#s;#t=1/0;#i=null;#n=!1;#o="initial";constructor({token:t,getToken:e}){this.#s=X(t),
this.#e=e}get renewable(){return typeof this.#e=="function"}get held(){return this.#s}async current(){return!this.renewable||this.#s&&l()<this.#t?this.#s:this.renew(
this.#s?"expiring":this.#o)}renew(t){return this.#i??=this.#r(t),this.#i.promise}#r(t){let e=new AbortController,s={controller:e};return s.promise=this.#a(t,e).
then(i=>(this.#i===s&&this.#c(i),i),i=>{this.#i===s&&(this.#i=null);let o=i?.status??i?.response?.status;throw o===401||o===403?new m(i.message):i}),s}async#a(t,e){
let{signal:s}=e,i,o=new Promise((h,a)=>{s.addEventListener("abort",()=>a(s.reason)),i=setTimeout(()=>{e.abort(new c("timeout","getToken took too long",!0))},Ct)}),
r=(async()=>Lt(await this.#e({reason:t,signal:s})))();try{return await Promise.race([r,o])}finally{clearTimeout(i)}}#c(t){this.#i=null,this.#s=t,this.#t=1/0,this.#o=
"expiring"}set(t){let e=X(t);this.cancel(),this.#c(e),this.#n=!1}accepted(t){if(t===void 0){this.#t=1/0;return}let e=Math.max(1e3,t*1e3*(.8+(Math.random()-.5)*.16));
return this.#t=l()+e,e}refused(){return this.#s=void 0,this.#o="rejected",!this.renewable||this.#n?!1:(this.#n=!0,!0)}stable(){this.#n=!1}cancel(){this.#i?.controller.
abort(new c("closed","the client was closed")),this.#i=null}};function wt({wake:n,doubt:t,leave:e}){let{document:s,navigator:i}=globalThis,o=globalThis.window??globalThis,r=()=>s.visibilityState!=="hidden"&&n(),h=[[o,"onli\
ne",n],[o,"offline",t],[i?.connection,"change",t],[o,"pagehide",({persisted:a})=>a&&e()],[o,"pageshow",({persisted:a})=>a&&n()],[s,"visibilitychange",r],[s,"res\
ume",r]].filter(([a])=>a?.addEventListener);for(let[a,f,d]of h)a.addEventListener(f,d);return()=>{for(let[a,f,d]of h)a.removeEventListener(f,d)}}var gt=()=>!!(globalThis.
window?.document??globalThis.WorkerGlobalScope);var qt=2e3,Gt=300,R=class{state="idle";error=null;maxBytes=16384;pacer=new j;gate=new $;#e;#s;#t;#i;#n;#o;#r=null;#a;#c;#h=0;#f=0;#l=new Map;#u;#d=0;#p=-1/0;#m=()=>{};#w=null;#x;constructor(t,e,s){
this.#e=t,this.#s=e,this.#t=s,this.#i=new I(e),this.#n=new A(this.#i,{session:()=>this.#r,live:()=>this.live(),ask:(i,o)=>this.ask(i,o),report:i=>s.emit("error",
i),signedOut:i=>this.#k(i)}),this.#o=new v(e.backoff)}get welcome(){return this.#r?.welcome}live(){return!!this.welcome&&this.#r.check()}send(t){return this.pacer.
spend(),this.#r?.send(t)??!1}nextId(){return this.#f+=1}ask(t,e){let s=this.nextId(),i=JSON.stringify({...t,id:s}),o=w(i);if(o>this.maxBytes){let r=`${t.type}: ${o}\
 bytes; the gateway takes ${this.maxBytes}`;return e({type:"error",code:"too_large",message:r,retry:!1})}this.#l.set(s,e),this.send(i)}connect(){if(this.state!==
"idle"&&this.state!=="closed")return this.#w.promise;let t=k();return this.#w=t,this.#m=wt({wake:()=>this.wake(!0),doubt:()=>this.#r?.probe(),leave:()=>this.#$()}),
this.#o.reset(),this.#i.stable(),this.error=null,this.#t.starting(),this.#S(),t.promise}connectSoon(){if(this.state!=="idle")return;let t=this.#h;queueMicrotask(
()=>this.#h===t&&this.connect())}close(t){this.#r?.end(t),this.gate.clear(),this.#j(t,new c("closed","closed by the application"))}setToken(t){this.#i.set(t),t&&
(this.live()&&this.#n.present(this.#i.held),this.state==="closed"&&this.#x===4401&&this.connect())}wake(t){if(this.#r)return this.#r.probe();if(this.state==="wa\
iting")return this.#v(t);this.state!=="connecting"||l()-this.#d<V||(this.#i.cancel(),this.#S())}#v(t){this.#o.reset();let e=Math.max(0,this.#p+qt-l());if(e>0&&!t)
return this.#y(e);e>0||(this.#p=l(),this.#y(t?Math.random()*Gt:0))}#g(t){let e=this.state;return this.state=t,this.#h+=1,()=>e!==t&&this.#t.emit("state",{state:t,
previous:e})}#y(t){clearTimeout(this.#u),this.#u=setTimeout(()=>this.#S(),t)}async#S(){let t=this.#g("connecting"),e=this.#h;this.#d=l(),t();let s;try{this.#h===
e&&(s=await this.#i.current())}catch(i){this.#h===e&&this.#b(i);return}if(this.#h===e)try{this.#r=this.#T(s)}catch(i){this.#j(1006,i)}}#T(t){let{connectTimeout:e,
WebSocket:s=globalThis.WebSocket}=this.#s;if(!s)throw new c("no_websocket","there is no WebSocket here; give one, such as ws, as the option");let i=()=>this.#E();
return this.#a=t,new N(s,dt(this.#e),i,e,{welcome:o=>this.#A(o),frame:o=>this.gate.run(()=>this.#_(o)),lost:o=>this.#N(o)})}#b(t){if(t instanceof m)return this.#k(
t);this.#I(Z()),this.#t.emit("error",t)}#k(t){this.#r?.end(),this.#j(4401,t)}#E(){let t={type:"hello",token:this.#a,client:ct},e=w(JSON.stringify(t)),s=this.#t.
since(this.maxBytes-e-16);if(this.#c=void 0,Object.keys(s).length===0)return t;let i=JSON.stringify({...t,since:s});return this.#c=Math.max(e,Math.floor(w(i)/2)),
i}#A(t){let e=this.#g("connected"),s=this.#h;this.maxBytes=t.max_bytes,this.pacer.begin(t),this.#n.accepted(t.expires_in),this.#i.held!==this.#a&&this.setToken(
this.#i.held);let i=this.#t.welcomed(t.groups);this.#w.resolve(),this.gate.hold(),e();for(let o of i)this.#h===s&&this.gate.run(o)}#_(t){if(t.type==="auth_due")
return this.#n.due();let e=this.#l.get(t.id);if(!e)return this.#t.received(t);this.#l.delete(t.id),e(t)}#N({code:t,reason:e,retryMs:s,silent:i,probed:o,uptimeMs:r}){
let h=this.#h;if(this.gate.drain(),this.#h!==h)return;let{welcome:a}=this;if(this.#M(),this.#o.ended(r)&&this.#i.stable(),!this.#O(t,a)){let d=t===4401?"unautho\
rized":"closed",M=new c(d,e||`closed with ${t}`);return this.#j(t,Object.assign(M,{closeCode:t}))}let f=s??(t===1006&&!i?a?.retry_ms:void 0);this.#I(this.#o.next(
f,s)),o&&this.wake(!0)}#O(t,e){return t===4401?this.#i.refused():at.includes(t)&&!e&&this.#c?(this.maxBytes=this.#c,!0):lt(t)}#$(){this.#r&&(this.#r.end(),this.
gate.drain(),this.#M(),this.#I(this.#o.next()))}#M(){clearTimeout(this.#u),this.#n.stop(),this.#r=null,this.#l.clear(),this.#t.lost()}#I(t){this.#y(t);let e=this.#g(
"waiting"),s=this.#h;if(e(),this.#h!==s)return;let i=new Date(Date.now()+t);this.#t.emit("waiting",{attempt:this.#o.attempt,delay:t,at:i})}#j(t,e){this.state!==
"closed"&&(this.#M(),this.#m(),this.#i.cancel(),this.error=e,this.#x=t,this.#t.closed(e),this.#w?.reject(e),this.#g("closed")(),this.#t.emit("closed",{code:t,reason:e.
message,error:e}))}};var zt=256,Ut=({code:n,closeCode:t})=>n==="closed"&&t===void 0;function yt(n,{buffer:t=zt,signal:e}){let s=[],i=0,o=null,r=null,h=!1,a=p=>{s.push(p),s.length>t&&
(s.shift(),i+=1),o?.resolve()},f=p=>{if(!h){h=!0,p&&!Ut(p)&&(r=p);for(let W of M)W();o?.resolve()}},d=p=>({group:n.membership.name,event:"$gap",gap:p,recovered:!1}),
M=[n.on("*",a),n.on("$gap",p=>a(d(p))),()=>n.finishers.delete(f)];return n.finishers.add(f),M.push(g(e,()=>f())),n.state==="closed"?f(n.error):n.options.wanted(),
{next:async()=>{for(;s.length===0&&!h;)o=k(),await o.promise;if(i>0){let W={reason:"buffer",possible:!1,lost:i};return i=0,{done:!1,value:d(W)}}if(s.length>0)return{
done:!1,value:s.shift()};let p=r;if(r=null,p)throw p;return{done:!0,value:void 0}},return:async()=>(f(),s.length=i=0,{done:!0,value:void 0}),[Symbol.asyncIterator](){
return this}}}function bt(n,t,{timeout:e,signal:s}){e!==void 0&&y(e);let{promise:i,resolve:o,reject:r}=k(),h=[n.on(t,(f,d)=>o(d??f),{once:!0}),()=>n.finishers.delete(
r)];n.finishers.add(r),h.push(g(s,()=>r(s.reason))),n.state==="closed"?r(n.error):n.options.wanted();let a=i.finally(()=>h.forEach(f=>f()));return T(a,e??1/0,`n\
o ${t} came`)}var kt=Symbol("groupcast");function C(n,t){Object.defineProperty(n,kt,{value:()=>t,configurable:!0,writable:!0})}var u=n=>n[kt]();var L=class{constructor(t){C(this,t)}get name(){return u(this).membership.name}get state(){return u(this).state}get position(){return u(this).membership.position}get error(){
return u(this).error}get ready(){return u(this).ready}on(t,e,s){return u(this).on(t,e,s)}once(t,e){return bt(u(this),t,e??{})}messages(t){return yt(u(this),t??{})}[Symbol.
asyncIterator](){return this.messages()}send(t,e){let{options:{send:s},membership:i}=u(this);return s(i.name,t,e)}leave(){u(this).leave()}[Symbol.dispose??Symbol.
for("Symbol.dispose")](){this.leave()}};var x=class{#e=new Map;on(t,e,s){if(typeof e!="function")throw new TypeError("a listener must be a function");let{once:i=!1,signal:o}=s??{},r=this.#e.get(t)??new Set;
this.#e.set(t,r);let h={callback:e,once:i,remove:()=>{}};r.add(h);let a=g(o,()=>h.remove());return h.remove=()=>{r.delete(h),a()},o?.aborted&&h.remove(),h.remove}emit(t,...e){
let s=this.#e.get(t);if(!s?.size)return!1;for(let i of[...s])s.has(i)&&(i.once&&i.remove(),Q(i.callback,...e));return!0}has(t){return!!this.#e.get(t)?.size}clear(){
for(let t of this.#e.values())for(let e of[...t])e.remove();this.#e.clear()}};function Q(n,...t){try{n(...t)?.then?.(void 0,xt)}catch(e){xt(e)}}function xt(n){typeof reportError==
"function"?reportError(n):console.error(n)}var vt=["*","$joined","$gap","$left"],St=n=>n.replaceAll(".","_"),P=class{ended=null;announced=!1;finishers=new Set;#e=new x;#s=new x;#t=null;constructor(t,e){this.
membership=t,this.options=e,this.since=e.since,this.group=new L(this)}get state(){return this.ended?"closed":this.membership.state}get error(){return this.ended??
this.membership.error}get ready(){let{state:t,error:e,options:s}=this;return t==="joined"?Promise.resolve(this.group):t==="closed"?Y(e):(s.wanted(),this.state===
"closed"?Y(this.error):(this.#t??=k(),T(this.#t.promise,s.timeout,`${this.membership.name} was not joined`)))}on(t,e,s){return!t.startsWith("$")&&t!=="*"?this.#e.
on(St(t),e,s):(vt.includes(t)||this.options.warn(`group.on: ${t} is none of ${vt.join(" ")}`),this.#s.on(t,e,s))}resolve(){let t=this.#t!==null;return this.#t?.
resolve(this.group),this.#t=null,t}fail(t){let e=this.#t!==null||this.finishers.size>0;this.#t?.reject(t),this.#t=null;for(let s of[...this.finishers])s(t);return e}notify(t,e){
return!this.ended&&this.#s.emit(t,e)}deliver(t){this.ended||this.#i(t.position)||(this.#e.emit(St(t.event),t.data,t),this.ended||this.#s.emit("*",t))}#i(t){let{
since:e}=this;return!e||!t?!1:t.epoch===e.epoch&&t.offset<=e.offset?!0:(this.since=void 0,!1)}leave(){this.ended||(this.ended=new c("closed",`left ${this.membership.
name}`),this.fail(this.ended),this.#e.clear(),this.#s.clear(),this.options.leave(this))}};function Tt(n,t){if(!t||n.epoch!==t.epoch)return{possible:!0,epoch:t?.epoch};let e=t.offset-n.offset;return e<=0?null:{possible:!1,lost:e,epoch:t.epoch,from:n.offset+
1,to:t.offset}}var q=class{state="joining";handles=new Set;refCount=0;byServer=!1;asked=null;position;sentSince;error=null;suspended=!1;parked=!1;idleSince;#e=!1;#s=0;constructor(t){
this.name=t}get wantedSince(){if(this.position)return this.position;let t;for(let{since:e}of this.handles)!e||t&&e.epoch!==t.epoch||(!t||e.offset<t.offset)&&(t=
e);return t}reopen(){this.state="joining",this.asked=null,this.error=null,this.suspended=this.parked=!1}joined({epoch:t,offset:e,recovered:s}){if(this.asked=null,
this.state==="joined"&&s===void 0)return this.welcomeNew();let i=t===void 0?void 0:{epoch:t,offset:e},o=this.position,r=s&&this.sentSince?this.sentSince:i,h=this.#t(
o,r,i);return this.state="joined",this.error=null,this.#e=!0,this.#s=s?e:0,this.position=r,[...this.handles].map(a=>this.#i(a,r,s===!0,h))}welcomeNew(){return[...this.
handles].filter(({announced:e})=>!e).map(e=>this.#i(e,this.position,!1,null))}#t(t,e,s){if(t&&e===this.sentSince&&e?.offset===t.offset||!this.#e&&!t)return null;
let i=t?Tt(t,s):{possible:!0,epoch:s?.epoch};return i&&{reason:"reconnect",...i}}#i(t,e,s,i){let{since:o,announced:r}=t,h=r?i:null,a=s;if(o&&!r){let d=Tt(o,e);h=
d&&{reason:"reconnect",...d},a=!h,h&&(t.since=void 0)}t.announced=!0;let f=this.position;return()=>{t.notify("$joined",{recovered:a,position:f}),h&&t.notify("$g\
ap",h)}}close(t,e=!1){if(this.state==="closed")return!0;this.state="closed",this.asked=null,this.error=t,this.suspended=e;let s=!1;for(let i of[...this.handles])
s=i.fail(t)||s,e||(s=i.notify("$left",{reason:t.message,error:t})||s);return s}accept({offset:t,id:e,data:s}){let i={group:this.name,event:s.type,data:s,recovered:!1};
if(t===void 0||!this.position)return{...i,id:e};let{epoch:o,offset:r}=this.position;if(t<=r)return null;if(this.position={epoch:o,offset:t},t>r+1){let h={epoch:o,
from:r+1,to:t-1,lost:t-r-1};this.#n("$gap",{reason:"unannounced",possible:!1,...h})}return{...i,position:this.position,recovered:t<=this.#s}}gap({reason:t,epoch:e,
from:s,to:i,lost:o,possible:r=!1}){e!==void 0&&(this.position={epoch:e,offset:i??0}),this.#n("$gap",{reason:t,possible:r,lost:o,epoch:e,from:s,to:i})}deliver(t){
for(let e of[...this.handles])this.state==="joined"&&e.deliver(t)}#n(t,e){for(let s of[...this.handles])s.notify(t,e)}};var G=class{#e=new Set;#s;constructor(t=512){this.#s=t}add(t){return this.#e.has(t)?!1:(this.#e.add(t),this.#e.size>this.#s&&this.#e.delete(this.#e.values().next().
value),!0)}};var Et=250,z=class{#e;#s;#t=new Map;#i=new Set;#n=new Set;#o;#r=new G;#a=!1;#c=new Set;#h;#f=new v;constructor(t,e){this.#e=t,this.#s=e}all(){return new Map([...this.#t].
map(([t,e])=>[t,this.#u(e).group]))}join(t,e,s){let i=this.#t.get(t)??this.#m(t);this.#n.delete(t);let o=this.#l(i,e,s);return i.refCount+=1,this.#s.state==="cl\
osed"?i.close(this.#s.error,!0):i.state==="closed"&&i.reopen(),i.state==="joined"?this.#g(i):this.#k(),o}leave(t){for(let e of[...this.#t.get(t)?.handles??[]])e.
leave()}#l(t,e,s){let i=new P(t,{since:e,timeout:s,wanted:()=>this.#e.wanted(),send:(...o)=>this.#e.send(...o),warn:o=>this.#e.warn(o,o),leave:()=>this.#d(t,i)});
return t.handles.add(i),i}#u(t){return t.view||(t.view=this.#l(t,void 0,this.#e.timeout),t.view.announced=t.state==="joined"),t.view}#d(t,e){if(t.handles.delete(
e),e===t.view){t.view=void 0;return}t.refCount-=1,!(t.refCount>0||this.#t.get(t.name)!==t)&&(t.idleSince=l(),this.#n.add(t.name),this.#p())}#p(){if(this.#o||this.#n.
size===0)return;let[t]=this.#n,e=this.#t.get(t).idleSince+Et-l();this.#o=setTimeout(()=>{this.#o=void 0;let s=l()+5;for(let i of[...this.#n])this.#t.get(i).idleSince+
Et<=s&&this.#T(i);this.#p()},Math.max(0,e))}since(t){let e={},s=t;for(let i of this.#t.values()){let{name:o,byServer:r,position:h,wantedSince:a}=i;if(!(!a||h&&!r)){
if(s-=w(JSON.stringify([o,a]))+1,s<0)break;e[o]=a,i.sentSince=a}}return e}welcomed(t){let e=new Set(t.map(({group:i})=>i));for(let[i,o]of this.#t)e.has(i)||(o.byServer=
!1,o.sentSince=void 0,o.parked&&o.reopen(),o.refCount===0&&this.#b(o));let s=t.flatMap(i=>this.#w(i));return this.#E(),s}lost(){clearTimeout(this.#h),this.#c.clear();
for(let t of[...this.#n])this.#T(t);this.#i.clear();for(let t of this.#t.values())t.asked=null,t.sentSince=void 0,t.state==="joined"&&t.reopen()}suspend(t){for(let e of this.#t.
values())e.close(t,!0)}resume(){for(let t of this.#t.values())t.suspended&&t.reopen()}changed({type:t,groups:e,reason:s}){for(let i of e)t==="joined"?this.#v(this.#w(
i)):this.#S(i.group,s);t==="left"&&this.#$(e.length)}gap(t){let e=this.#t.get(t.group);e?.state==="joined"&&e.gap(t)}event(t){let{group:e,id:s,data:i}=t;if(s!==
void 0&&!this.#r.add(s))return null;if(e===void 0)return{event:i.type,data:i,id:s,recovered:!1};let o=this.#t.get(e);if(o?.state!=="joined")return null;let r=o.
accept(t);return r&&o.deliver(r),r}#m(t){let e=new q(t);return this.#t.set(t,e),e}#w({group:t,error:e,...s}){let i=this.#t.get(t)??this.#m(t);return i.byServer=
!e,e?(i.refCount===0&&this.#b(i),e.retry?[]:[()=>this.#y(i,e)]):this.#x(i,s)}#x(t,e){let s=t.joined(e),i=!1;for(let o of t.handles)i=o.resolve()||i;return i&&this.#s.
gate.hold(),s}#v(t){for(let e of t)this.#s.gate.run(e)}#g(t){this.#s.gate.hold(),this.#v(t.welcomeNew())}#y(t,e){t.close(c.from(e))||this.#e.warn(`refused ${t.name}`,
`${t.name} was not joined: ${e.message}`)}#S(t,e="removed by the server"){let s=this.#t.get(t);s&&(s.byServer=!1,s.refCount===0&&this.#b(s),s.close(new c("left",
e)))}#T(t){this.#n.delete(t);let e=this.#t.get(t);!e||e.byServer||e.refCount>0||((e.state==="joined"||e.asked!==null)&&(this.#i.add(t),this.#k()),this.#b(e))}#b(t){
this.#t.delete(t.name),this.#n.delete(t.name),t.view?.leave()}#k(){this.#a||(this.#a=!0,queueMicrotask(()=>{this.#a=!1,this.#E()}))}#E(){if(!this.#s.live())return;
let t=[...this.#t.values()].filter(({state:e,asked:s,refCount:i})=>e==="joining"&&s===null&&i>0);if(t.length>0)for(let e of[...this.#n])this.#T(e);for(let e of this.#_(
[...this.#i].map(s=>({group:s}))))this.#s.ask({type:"leave",groups:e},s=>this.#$(s.groups?.length??0));this.#i.clear();for(let e of this.#_(t.map(s=>this.#A(s))))
this.#N(e)}#A(t){let e={group:t.name,since:t.wantedSince};return w(JSON.stringify(e))+64>this.#s.maxBytes&&delete e.since,t.sentSince=e.since,e}#_(t){return ft(
t,this.#s.maxBytes)}#N(t){let e={};for(let{group:s}of t)this.#t.get(s).asked=e;this.#s.ask({type:"join",groups:t},s=>{let i=s.type==="error"?s:void 0,r=(i?t.map(
({group:h})=>({group:h,error:i})):s.groups).flatMap(h=>this.#O(h,e));this.#v(r)})}#O({group:t,error:e,...s},i){let o=this.#t.get(t);return o?.asked!==i?[]:e?e.retry?
(this.#M(t),[]):[()=>{this.#y(o,e),o.parked=e.code==="too_many_groups"}]:(this.#f.reset(),this.#x(o,s))}#$(t){let e=[...this.#t.values()].filter(s=>s.parked).slice(
0,t);for(let s of e)s.reopen();e.length>0&&this.#k()}#M(t){this.#c.add(t),!(this.#c.size>1)&&(this.#h=setTimeout(()=>{for(let e of this.#c){let s=this.#t.get(e);
s?.state==="joining"&&(s.asked=null)}this.#c.clear(),this.#E()},this.#f.next()))}};var U=class{#e;#s;#t=new Map;#i=0;#n=0;#o;constructor(t,e){this.#e={maxMessages:512,maxBytes:1024*1024,...t},this.#s=e}request(t,e,s){let i=this.#s.nextId(),o=JSON.
stringify({...t,id:i}),r=w(o);return new S((h,a)=>{if(s?.aborted)throw s.reason;this.#r(r);let f={text:o,bytes:r,repeatable:t.key!==void 0,sent:!1,tried:!1,resolve:h};
f.forget=g(s,()=>this.#c(i,s.reason)),f.reject=d=>{d instanceof c&&(d.sent=f.tried),a(d)},e<1/0&&(f.timer=setTimeout(()=>this.#a(i),Math.min(e,E))),this.#t.set(
i,f),this.#i+=r,this.flush()})}#r(t){let{maxMessages:e,maxBytes:s}=this.#e,i=this.#s.maxBytes;if(t>i)throw Mt(t,i);if(this.#t.size<e&&this.#i+t<=s)return;let o=`${this.#t.
size} requests of ${this.#i} bytes wait already`;throw new c("outbox_full",o,!0)}flush(){if(clearTimeout(this.#o),!this.#s.live())return;let{pacer:t,maxBytes:e}=this.#s;
for(let[s,i]of this.#t){if(i.sent)continue;if(i.bytes>e){this.#c(s,Mt(i.bytes,e));continue}if(this.#n>=t.window)return;let o=t.delay();if(o>0){this.#o=setTimeout(
()=>this.flush(),o);return}if(!this.#s.send(i.text))return;i.sent=i.tried=!0,this.#n+=1}}answered({type:t,id:e,...s}){let i=this.#h(e);return i?(t==="result"?i.
resolve(s.data):i.reject(c.from(s)),this.flush(),!0):!1}lost(){this.#n=0;for(let[t,e]of this.#t){if(!e.sent||(e.sent=!1,e.repeatable))continue;let s="the connec\
tion was lost before the answer; whether it was done is not known";this.#c(t,new c("disconnected",s))}}close({code:t,message:e}){clearTimeout(this.#o);for(let s of[
...this.#t.keys()])this.#c(s,new c(t,e))}#a(t){let e=this.#t.get(t).tried?new c("timeout","no answer in time; whether it was done is not known",!0):new c("expir\
ed","no connection in time; nothing was sent",!0);this.#c(t,e)}#c(t,e){this.#h(t)?.reject(e)}#h(t){let e=this.#t.get(t);if(e)return this.#t.delete(t),this.#i-=e.
bytes,e.sent&&(this.#n-=1),clearTimeout(e.timer),e.forget(),e}},Mt=(n,t)=>new c("too_large",`${n} bytes; the gateway takes ${t}`);var _t=["state","waiting","closed","error","event","gap"],Jt=50,$t=!1,J=class{#e;#s;#t=new x;#i;#n=new Set;#o=!1;constructor(t,e,s){this.#e=t,this.#s=s,this.timeout=
s.timeout??1e4,y(this.timeout),this.connector=new R(e,{connectTimeout:1e4,...s},{starting:()=>this.groups.resume(),since:i=>this.groups.since(i),welcomed:i=>this.#c(
i),received:i=>this.#h(i),lost:()=>this.#p(),closed:i=>this.#m(i),emit:(i,o)=>this.#u(i,o)}),this.groups=new z(this,this.connector),this.#i=new U(s.outbox,this.
connector)}wanted(){this.connector.state==="idle"&&this.connector.connect()}join(t,{since:e,signal:s,timeout:i=this.timeout}){D(t),y(i);let o=this.groups.join(t,
et(e),i);return g(s,()=>o.leave()),this.#r(),o.group}#r(){if(gt()||this.#s.WebSocket)return this.connector.connectSoon();$t||this.connector.state!=="idle"||($t=
!0,this.warn("server","outside of browsers join() does not connect by itself; call connect()"))}send(t,e,{echo:s=!0,key:i=Wt(),...o}={}){return this.#a(`send to\
 ${String(t)}`,o,()=>(D(t),st(e),{type:"send",group:t,data:e,echo:s?void 0:!1,key:i}))}call(t,e,{key:s,...i}={}){return this.#a(`call ${String(t)}`,i,()=>(F("th\
e name of a call",t),{type:"call",name:t,data:e,key:s}))}on(t,e,s){return _t.includes(t)||this.warn(`on ${t}`,`client.on: ${t} is none of ${_t.join(" ")}`),this.#t.
on(t,e,s)}warn(t,e,s=""){this.#s.warnings===!1||this.#n.has(t)||this.#n.size>=Jt||(this.#n.add(t),globalThis.console?.warn(`groupcast: ${e}`,s))}#a(t,{timeout:e=this.
timeout,signal:s},i){let o;try{let r=i();if(r.key!==void 0&&F("`key`",r.key),y(e),this.connector.state==="closed")throw new c("closed","the client is closed");o=
this.#i.request(r,e,s),this.connector.connectSoon()}catch(r){o=S.reject(r)}return o.guard(r=>this.warn(`${t} ${r.code}`,`${t} failed, and nothing awaits it:`,r))}#c(t){
this.#o=!0;let e=this.groups.welcomed(t);return this.#i.flush(),e}#h(t){switch(t.type){case"event":return this.#l(this.groups.event(t));case"gap":return t.group!==
void 0?this.groups.gap(t):this.#f(t);case"joined":case"left":return t.id===void 0&&this.groups.changed(t);case"result":return this.#i.answered(t);case"error":if(this.#i.
answered(t)||t.id!==void 0)return;this.#u("error",c.from(t))}}#f({reason:t,lost:e,possible:s=!1}){this.#u("gap",{reason:t,lost:e,possible:s})}#l(t){t&&(this.#e.
onmessage&&Q(this.#e.onmessage,t),this.#u("event",t))}#u(t,e){this.#t.emit(t,e)||(t==="error"&&this.warn(`error ${e?.message}`,"an error that nothing listens to\
:",e),t==="closed"&&e.error.code!=="closed"&&this.#d(e),t==="closed"&&e.error.closeCode&&this.#d(e),t==="waiting"&&e.attempt&&!this.#o&&!this.#t.has("state")&&this.
warn("waiting","no connection: is the address right, and the gateway running? Trying again"))}#d({code:t,reason:e,error:s}){this.warn(`closed ${t}`,`closed with\
 ${t}, and will not come back by itself: ${e}`,s)}#p(){this.groups.lost(),this.#i.lost()}#m(t){this.groups.suspend(t),this.#i.close(t)}};function Wt(){return globalThis.
crypto?.randomUUID?.()??`${Date.now()}-${Math.random()}-${Math.random()}`}var tt=class{onmessage=null;constructor(t,e){C(this,new J(this,t,e??{}))}get state(){return u(this).connector.state}get id(){return u(this).connector.welcome?.connection}get groups(){
return u(this).groups.all()}connect({timeout:t=u(this).timeout}={}){return y(t),T(u(this).connector.connect(),t,"not connected")}reconnect(){let{connector:t}=u(
this);t.wake(!1),t.connect()}close(t=1e3){u(this).connector.close(t)}setToken(t){u(this).connector.setToken(t)}join(t,e){return u(this).join(t,e??{})}leave(t){u(
this).groups.leave(t)}send(t,e,s){return u(this).send(t,e,s??{})}call(t,e,s){return u(this).call(t,e,s??{})}on(t,e,s){return u(this).on(t,e,s)}[Symbol.dispose??
Symbol.for("Symbol.dispose")](){this.close()}};export{tt as GroupcastClient,c as GroupcastError,m as UnauthorizedError};
